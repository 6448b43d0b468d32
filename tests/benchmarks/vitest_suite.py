"""The tests of a published package, by `vitest run` and by Offload on two local sandboxes.

First *equality*: Offload's outcomes are Vitest's own, test by test. Any difference is printed, and the exit code is 1.
Then *speed*: interleaved rounds of `vitest run`, `offload run`, and `offload run` with the tests listed without
isolation, and the ratios of their wall-clock times and of the CPU time of everything they start. Offload is cold: it
knows of no earlier run.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

from offload_core.results.last_run import accounting_of
from tests.benchmarks.workspace import machine
from tests.frameworks.vitest_install import INTERCEPTORS, ZOD, Suite, alone, same_words

SUITES = {"zod": ZOD, "interceptors": INTERCEPTORS}
CONFIG = """\
[offload]
max_parallel = {workers}

[provider]
type = "local"

[framework]
type = "vitest"
command = "node_modules/.bin/vitest"

[groups.all]
filters = "{filters}"
"""


def main() -> int:
    """Run the benchmark; see the module's docstring. 1 if outcomes differ, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.vitest_suite", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=SUITES, default="zod", help="whose tests  [zod]")
    parser.add_argument("--only", default="", metavar="PATH", help="a part of them, as a filter of Vitest's")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each contender; 0: equality only  [3]")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="sandboxes  [2]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as root:
        directory = Path(root) / "suite"
        directory.mkdir()
        print(f"{machine()}; {options.suite}", flush=True)
        if not equality(SUITES[options.suite], directory, options.only, options.workers):
            return 1
        if options.rounds:
            speed(directory, options.only, options.workers, options.rounds)
    return 0


def equality(suite: Suite, directory: Path, only: str, workers: int) -> bool:
    """Compare outcomes test by test, print what differs, and say whether nothing does."""
    suite.lay_out(directory)
    plain = alone(directory, *([only] if only else []), env=_environment())
    _offload(directory, only, workers)
    ours: dict[str, list[str]] = {}
    for record in accounting_of(directory / "test-results" / "events.jsonl").records.values():
        ours.setdefault(record.test.id, []).append(record.state.value)
    told = same_words(ours)
    different = sorted(id for id in {*plain, *told} if plain.get(id) != told.get(id))
    for id in different:
        print(f"  DIFFERENT: {id}: {plain.get(id, 'nothing')} by Vitest, {ours.get(id, 'nothing')} by Offload")
    counts = f"{sum(map(len, plain.values()))} by vitest run, {sum(map(len, told.values()))} by Offload"
    print(f"outcomes: {counts}, {len(different)} differences", flush=True)
    return not different


@define
class Contender:
    """One way to run the suite, and what its runs took: wall-clock time, and CPU time with all children, in seconds."""

    name: str
    walls: list[float] = field(factory=list)
    cpus: list[float] = field(factory=list)


def speed(directory: Path, only: str, workers: int, rounds: int) -> None:
    """Run the rounds and print the table."""
    plain, ours, quick = Contender("vitest run"), Contender("offload run"), Contender("offload run, --no-isolate list")
    command = ["node_modules/.bin/vitest", "run", *([only] if only else [])]
    for _ in range(rounds):
        _timed(plain, lambda: _run(command, directory))
        _timed(ours, lambda: _offload(directory, only, workers))
        _timed(quick, lambda: _offload(directory, f"--no-isolate {only}".strip(), workers))
    print(f"medians of {rounds}, s {'':14} {'wall':>7} {'CPU':>7} {'wall ratio':>11} {'CPU ratio':>10}")
    for each in (plain, ours, quick):
        wall, cpu = statistics.median(each.walls), statistics.median(each.cpus)
        walls = statistics.median(one / other for one, other in zip(each.walls, plain.walls, strict=True))
        cpus = statistics.median(one / other for one, other in zip(each.cpus, plain.cpus, strict=True))
        print(f"{each.name:<30} {wall:7.1f} {cpu:7.1f} {walls:11.2f} {cpus:10.2f}")
    print(machine())


def _timed(contender: Contender, run: object) -> None:
    assert callable(run)
    before, began = _cpu(), time.monotonic()
    run()
    contender.walls.append(time.monotonic() - began)
    contender.cpus.append(_cpu() - before)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _offload(directory: Path, filters: str, workers: int) -> None:
    shutil.rmtree(directory / "test-results", ignore_errors=True)
    (directory / "offload.toml").write_text(CONFIG.format(workers=workers, filters=filters), encoding="utf-8")
    _run([sys.executable, "-m", "offload_core", "run", "--ci"], directory)


def _run(argv: Sequence[str], directory: Path) -> None:
    """The suites have failures of their own: an exit code of 1 is no trouble."""
    done = subprocess.run(argv, cwd=directory, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{argv} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OFFLOAD_", "VITEST", "CI"))}


if __name__ == "__main__":
    sys.exit(main())
