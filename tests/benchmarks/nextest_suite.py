"""The tests of two crates, by `cargo nextest run` and by Offload on two local sandboxes that run nextest.

First *equality*: the verdicts are the same, test by test. Any difference is printed, and the exit code is 1. Then
*speed*: both in turns, everything built, and the ratio of their wall-clock times. Offload is *cold* in a pair: what
earlier runs left is deleted. *Warm* runs, which know durations, follow each pair.

On one machine nextest alone already runs a test per CPU, so there is nothing to win: the ratio shows what it costs that
Offload lists, hands out and reports, and that each batch starts nextest and has cargo look for changes. Both sandboxes
are told to run one test at a time, so that as many tests run at once as with nextest alone on two CPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from offload_core.results.last_run import accounting_of
from tests.benchmarks.workspace import machine
from tests.frameworks import crates, nextest_tool

WORKERS = 2
NEXTEST = ("cargo", "nextest", "run", "--no-fail-fast", "--test-threads", str(WORKERS))
OFFLOAD = (sys.executable, "-m", "offload_core", "run", "-p", str(WORKERS))


def main() -> int:
    """Run the benchmark; see the module's docstring. 1 if verdicts differ, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.nextest_suite", description=__doc__)
    parser.add_argument("--work", type=Path, metavar="DIR", help="where to prepare, and keep, the crates  [a new one]")
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="how many pairs  [7]")
    parser.add_argument("--quick", action="store_true", help="one pair: that it works, no figures")
    options = parser.parse_args()
    tool = nextest_tool.directory()
    if tool is None:
        print("no cargo-nextest: `python -m tests.frameworks.nextest_tool` installs it")
        return int(os.environ.get("CI") == "true")
    with _directory(options.work) as directory:
        env = crates.environment(tool)
        print(f"{machine()}; preparing {directory}", flush=True)
        if not (directory / "Cargo.toml").exists():
            crates.unpack(directory, env)
        (directory / "offload.toml").write_text(
            crates.CONFIG.replace("[groups", 'run_args = "--test-threads 1"\n\n[groups'), encoding="utf-8"
        )
        different = not equality(directory, env)
        if not different:
            speed(directory, env, 1 if options.quick else options.pairs)
    return int(different)


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
        yield Path(directory)


def equality(directory: Path, env: Mapping[str, str]) -> bool:
    """Compare verdicts test by test, print what differs, and say whether nothing does."""
    alone = crates.by_nextest(directory, env)
    crates.run(OFFLOAD, directory, env)
    records = accounting_of(directory / "test-results/events.jsonl").records.values()
    ours = {record.test.id: record.state.value for record in records}
    different = [id for id in sorted({*alone, *ours}) if alone.get(id) != ours.get(id)]
    for id in different:
        print(f"  DIFFERENT: {id}: {alone.get(id, 'nothing')} by nextest, {ours.get(id, 'nothing')} by Offload")
    print(f"{len(alone)} tests: {len(different)} differences" if different else f"{len(alone)} tests, all the same")
    return not different


def speed(directory: Path, env: Mapping[str, str], pairs: int) -> None:
    """Run the pairs and print the table."""
    cold: list[float] = []
    warm: list[float] = []
    alone: list[float] = []
    print(f"{'pair':>4} {'nextest':>8} {'cold':>8} {'warm':>8} {'ratio':>6}  load")
    for number in range(1, pairs + 1):
        if number % 2:
            alone.append(_timed(NEXTEST, directory, env))
        shutil.rmtree(directory / "test-results", ignore_errors=True)
        cold.append(_timed(OFFLOAD, directory, env))
        warm.append(_timed(OFFLOAD, directory, env))
        if not number % 2:
            alone.append(_timed(NEXTEST, directory, env))
        walls = f"{alone[-1]:8.2f} {cold[-1]:8.2f} {warm[-1]:8.2f} {cold[-1] / alone[-1]:6.2f}"
        print(f"{number:>4} {walls}  {machine().rpartition('load ')[2]}", flush=True)
    for name, runs in (("cold", cold), ("warm", warm)):
        ratio = statistics.median(ours / theirs for ours, theirs in zip(runs, alone, strict=True))
        extra = statistics.median(ours - theirs for ours, theirs in zip(runs, alone, strict=True))
        print(f"{name}: median ratio {ratio:.2f}, median difference {extra:.2f} s")


def _timed(argv: Sequence[str], directory: Path, env: Mapping[str, str]) -> float:
    began = time.monotonic()
    crates.run(argv, directory, env)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
