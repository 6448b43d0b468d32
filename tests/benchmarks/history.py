"""How long it takes to read, plan with, add to and merge a large history, beside a bare `json` pass over the same file.

The files are made here: every test has full reservoirs, most of them only of good attempts, as real suites do. Each
figure is the median of rounds in which everything is done once, one after the other; the ratios are those of CPU time,
which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, field

from offload_core.abc import Attempt, Outcome, Test
from offload_core.events import AttemptFinished, RunStarted, TestDiscovered
from offload_core.history import (
    Entry,
    History,
    RecordedDurations,
    Sample,
    merge_files,
    read_history,
    record_run,
    write_history,
)
from offload_core.results.accounting import Accounting
from tests.benchmarks.workspace import machine

CONFIG = "offload.toml"
SAMPLES = 20
NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
BARE = "bare json pass"
FAILING = 0.1
"""The share of tests that have failed attempts, too."""


def ids(tests: int) -> list[str]:
    """Ids as pytest's are."""
    return [f"tests/area_{n // 500}/test_module_{n // 25}.py::TestCase{n // 5}::test_{n}[case]" for n in range(tests)]


def make(path: Path, tests: int, seed: int, newest_ms: int = NOW_MS) -> None:
    """Write a history of so many tests, with full reservoirs whose newest samples are of about `newest_ms`."""
    draw = random.Random(seed)
    history = History(path)
    runs = [(f"{seed}{number:03}", newest_ms - number * 3_600_000) for number in range(SAMPLES)]
    for test in ids(tests):
        secs = draw.lognormvariate(-2.0, 1.5)
        ok = [Sample(run, at + draw.randrange(60_000), round(secs * draw.uniform(0.8, 1.2), 4)) for run, at in runs]
        fail = [sample._replace(at=sample.at + 1) for sample in ok] if draw.random() < FAILING else []
        entry = Entry(attempts=50 + len(fail), failures=len(fail), last_run=runs[0][0], ok=ok[::-1], fail=fail[::-1])
        history.put((CONFIG, test), entry)
    write_history(history)


def ran(tests: int) -> Accounting:
    """The accounting of a run in which every test passed."""
    accounting = Accounting()
    accounting.apply(
        RunStarted(
            offload="0",
            run_id="bench",
            epoch=NOW_MS / 1000 + 3600,
            argv=(),
            provider="memory",
            framework="memory",
            max_parallel=1,
        )
    )
    for number, test in enumerate(ids(tests)):
        accounting.apply(TestDiscovered(Test(key=test, id=test, group="all", path="m", affinity="m")))
        attempt = Attempt(
            test=test, number=1, sandbox="s1", session="s1.1", outcome=Outcome.PASSED, start=number / 100, duration=0.1
        )
        accounting.apply(AttemptFinished(attempt))
    return accounting


@define
class Bench:
    """Histories of one size, and what is done with them. `took` has wall-clock and CPU seconds of each round."""

    root: Path
    tests: int
    took: dict[str, list[tuple[float, float]]] = field(factory=dict)

    def read(self, rounds: int) -> None:
        """Make a history and read it; the bare pass is first in each round."""
        make(self.root / "ours", self.tests, seed=1)
        wanted = ids(self.tests)
        for _ in range(rounds):
            self._time(BARE, self._bare)
            self._time("load: read, find every test", self._load)
            self._time("load, and estimate every test", lambda: self._plan(wanted))

    def change(self, rounds: int) -> None:
        """Add a run to it, and merge it with another that has changed every test, too."""
        for seed, name in ((0, "base"), (2, "theirs")):
            make(self.root / name, self.tests, seed, newest_ms=NOW_MS + (seed - 1) * DAY_MS)
        accounting = ran(self.tests)
        base, changed, theirs = (self.root / name for name in ("base", "changed", "theirs"))
        for _ in range(rounds):
            shutil.copy(self.root / "ours", changed)
            self._time("record a run of all tests", lambda: record_run(changed, CONFIG, accounting, SAMPLES))
            self._time("merge, all changed on both sides", lambda: merge_files(base, changed, theirs, print))

    def table(self) -> Iterator[str]:
        """What took how long."""
        for what, rounds in self.took.items():
            wall, cpu = (statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(cpu / bare for (_, cpu), (_, bare) in zip(rounds, self.took[BARE], strict=True))
            yield f"{what:<34} {wall:>7.2f} s {cpu:>7.2f} s {ratio:>9.2f}"

    def _time(self, what: str, do: Callable[[], object]) -> None:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        self.took.setdefault(what, []).append((time.perf_counter() - wall, time.process_time() - cpu))

    def _bare(self) -> None:
        with (self.root / "ours").open(encoding="utf-8") as lines:
            for line in lines:
                json.loads(line)

    def _load(self) -> None:
        assert len(read_history(self.root / "ours").lines) == self.tests

    def _plan(self, wanted: Sequence[str]) -> None:
        known = RecordedDurations(read_history(self.root / "ours"), CONFIG, {}, print)
        assert all(known[test] > 0 for test in wanted)


def main() -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the tests, one round")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often  [5]")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    print(machine())
    for tests in (1_000, 10_000) if options.quick else (10_000, 100_000):
        with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
            bench = Bench(Path(directory), tests)
            bench.read(rounds)
            if tests <= 10_000:
                bench.change(rounds)
            size = (bench.root / "ours").stat().st_size / 1e6
        print(f"\n{tests} tests, {SAMPLES} samples each, {size:.1f} MB")
        print(f"{'medians':<34} {'wall':>9} {'CPU':>9} {'CPU/bare':>9}")
        print("\n".join(bench.table()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
