"""A Go module's own tests, by Offload on two local sandboxes and by `go test ./...`, with two packages at once.

First *equality*: Offload's verdicts are those of `go test -json`, test by test. Any difference is printed, and the exit
code is 1. Then *speed*: interleaved pairs of `offload run` and `go test`, and the ratio of their wall-clock times. In
each pair Offload is cold: it knows of no earlier run. Go's build cache is warm for both.
"""

from __future__ import annotations

import argparse
import json
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

from attrs import frozen

from offload_core.results.last_run import accounting_of
from tests.benchmarks.workspace import machine

WORKERS = 2
MODULE = "golang.org/x/text@v0.43.0"
QUICK = "github.com/spf13/pflag@v1.0.10"
OUTCOMES = {"pass": "passed", "fail": "failed", "skip": "skipped"}
CONFIG = f"""\
[offload]
max_parallel = {WORKERS}
[provider]
type = "local"
[framework]
type = "go"
[groups.all]
"""


@frozen
class Ran:
    """One run: its wall-clock time, and the CPU time of it and all it waited for, in seconds."""

    wall: float
    cpu: float
    output: str


@frozen
class Suite:
    """A copy of a module."""

    directory: Path

    @classmethod
    def of(cls, module: str, directory: Path) -> Suite:
        """Fetch a module and copy it.

        Raises:
            subprocess.CalledProcessError: it cannot be had.
        """
        argv = ["go", "mod", "download", "-json", module]
        found = subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True)
        target = directory / "suite"
        shutil.copytree(json.loads(found.stdout)["Dir"], target, copy_function=shutil.copy)
        for each, _, _ in os.walk(target):
            Path(each).chmod(0o755)
        (target / "offload.toml").write_text(CONFIG, encoding="utf-8")
        return cls(target)

    def run(self, *argv: str) -> Ran:
        """Run a command in it."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(argv, cwd=self.directory, capture_output=True, text=True, check=False)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ran(wall, cpu, done.stdout)

    def offload(self) -> Ran:
        """`offload run`, cold."""
        shutil.rmtree(self.directory / "test-results", ignore_errors=True)
        return self.run(sys.executable, "-m", "offload_core", "run", "--ci")

    def go(self, *words: str) -> Ran:
        """`go test` of everything."""
        return self.run("go", "test", *words, f"-p={WORKERS}", "-count=1", "./...")


def equality(suite: Suite, module: str) -> bool:
    """Compare verdicts test by test, print what differs, and say whether nothing does."""
    expected: dict[str, str] = {}
    for event in map(json.loads, suite.go("-json").output.splitlines()):
        if event["Action"] in OUTCOMES and "/" not in event.get("Test", "/"):
            package = event["Package"].removeprefix(module.partition("@")[0]).lstrip("/")
            expected[f"{package}.{event['Test']}".lstrip(".")] = OUTCOMES[event["Action"]]
    suite.offload()
    records = accounting_of(suite.directory / "test-results/events.jsonl").records.values()
    ours = {record.test.id: record.state.value for record in records}
    different = {each for each in {*expected, *ours} if expected.get(each) != ours.get(each)}
    for each in sorted(different):
        print(f"  DIFFERENT: {each}: {expected.get(each)} by go test, {ours.get(each)} by Offload")
    print(
        f"equality: {len(expected)} tests by go test, {len(ours)} by Offload, {len(different)} differences", flush=True
    )
    return not different


def speed(suite: Suite, pairs: int) -> None:
    """Run the pairs and print the table."""
    print(f"{'pair':>4} {'offload':>8} {'go test':>8} {'ratio':>6} {'CPU':>6} {'CPU':>6}  load")
    ratios = []
    for number in range(1, pairs + 1):
        if number % 2:
            ours, theirs = suite.offload(), suite.go()
        else:
            theirs, ours = suite.go(), suite.offload()
        ratios.append(ours.wall / theirs.wall)
        figures = f"{ours.wall:8.1f} {theirs.wall:8.1f} {ratios[-1]:6.3f} {ours.cpu:6.1f} {theirs.cpu:6.1f}"
        print(f"{number:>4} {figures}  {machine().rpartition('load ')[2]}", flush=True)
    print(f"\nmedian ratio, cold: {statistics.median(ratios):.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring. 1 if verdicts differ, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.go_suite", description=__doc__)
    parser.add_argument("--module", default=MODULE, metavar="PATH@VERSION", help=f"whose tests  [{MODULE}]")
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="how many pairs; 0 for equality only  [7]")
    parser.add_argument("--quick", action="store_true", help="a small module, one pair: that it works, no figures")
    options = parser.parse_args(arguments)
    module = QUICK if options.quick else options.module
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as root:
        print(f"{machine()}; {module}", flush=True)
        suite = Suite.of(module, Path(root))
        same = equality(suite, module)
        if same:
            speed(suite, 1 if options.quick else options.pairs)
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
