"""networkx's own tests, by plain pytest, by Offload on two local sandboxes, and by pytest-xdist with two workers.

First *equality*: Offload's outcomes are those of plain pytest, test by test. Any difference is printed, and the exit
code is 1. Then *speed*: interleaved pairs of `offload run` and `pytest -n 2 --dist worksteal`, and the ratio of their
wall-clock times. In each pair Offload is cold: it knows of no earlier run. Warm runs are shown apart.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, field

from offload_core.kit import read_junit
from offload_core.results.last_run import accounting_of
from tests.benchmarks.journal import Figures, figures_of
from tests.benchmarks.workspace import Measured, Workspace, machine

WORKERS = 2
COLLECTED, OUTCOMES = 6841, 6848
"""Of networkx 3.6.1 with numpy and scipy and nothing else that it can use."""

WHOLE = ("networkx",)
QUICK = ("networkx/classes", "networkx/utils", "networkx/readwrite")
TARGET = 1.0


def main() -> int:
    """Run the benchmark; see the module's docstring. 1 if outcomes differ, else 0."""
    options = _options()
    paths = QUICK if options.quick else WHOLE
    with _directory(options.work) as root:
        workspace = Workspace(root)
        print(f"{machine()}; preparing {root}", flush=True)
        workspace.prepare(paths, WORKERS)
        different = not options.speed_only and not equality(workspace, paths)
        if options.pairs and not different:
            speed(workspace, paths, 1 if options.quick else options.pairs, options.informative)
    return int(different)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.networkx_suite", description=__doc__)
    parser.add_argument("--work", type=Path, metavar="DIR", help="where to prepare, and keep, the suite  [a new one]")
    parser.add_argument("--pairs", type=int, default=7, metavar="N", help="how many pairs; 0 for equality only  [7]")
    parser.add_argument("--informative", type=int, default=3, metavar="N", help="runs of the other two kinds  [3]")
    parser.add_argument("--speed-only", action="store_true", help="do not compare outcomes")
    parser.add_argument("--quick", action="store_true", help="a part of the suite, one pair: that it works, no figures")
    return parser.parse_args()


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
        yield Path(directory)


# Equality ------------------------------------------------------------------------------------------------------------


def equality(workspace: Workspace, paths: Sequence[str]) -> bool:
    """Compare outcomes test by test, print what differs, and say whether nothing does."""
    plain = workspace.run("pytest", "-q", "-p", "no:xdist", *paths).outcomes
    workspace.forget()
    workspace.run("offload", "run", "-p", str(WORKERS))
    accounting = accounting_of(workspace.journal)
    ours: dict[str, list[str]] = {}
    for record in accounting.records.values():
        ours.setdefault(record.test.id, []).append(record.state.value)
    discovered = sum("::" in test for test in ours)
    counts = Counter(outcome for outcomes in plain.values() for outcome in outcomes)
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"plain pytest: {counts.total()} outcomes of {len(plain)} ids: {said}")
    print(f"offload run:  {sum(map(len, ours.values()))} outcomes, {discovered} ids collected")
    differences = [
        f"{test}: {plain.get(test, ['nothing'])} by pytest, {sorted(ours.get(test, ['nothing']))} by Offload"
        for test in sorted({*plain, *ours})
        if plain.get(test) != sorted(ours.get(test, ()))
    ]
    reported = Counter(case.name for case in read_junit((workspace.suite / "test-results" / "junit.xml").read_bytes()))
    if reported != Counter({test: len(outcomes) for test, outcomes in ours.items()}):
        differences.append("junit.xml does not hold the same tests as events.jsonl")
    if tuple(paths) == WHOLE and (discovered, counts.total()) != (COLLECTED, OUTCOMES):
        differences.append(f"expected {COLLECTED} ids collected and {OUTCOMES} outcomes of this version of networkx")
    for difference in differences:
        print(f"  DIFFERENT: {difference}")
    said = f"{len(differences)} differences" if differences else "every outcome is the same"
    print(f"equality: {said}", flush=True)
    return not differences


# Speed ---------------------------------------------------------------------------------------------------------------


@define
class Contender:
    """One way to run the suite, and its runs so far. `warm`: it may know the run before."""

    name: str
    run: Callable[[], Measured]
    runs: list[Measured] = field(factory=list)
    figures: list[Figures] = field(factory=list)

    def again(self) -> Measured:
        """Run once more."""
        self.runs.append(self.run())
        return self.runs[-1]

    def median(self, figure: str) -> float:
        """Of all runs, the median of an attribute of `Measured`."""
        values: list[float] = [getattr(run, figure) for run in self.runs]
        return statistics.median(values)


def contenders(workspace: Workspace, paths: Sequence[str]) -> tuple[Contender, Contender, Contender, Contender]:
    """Offload cold, xdist with work stealing; and for information Offload warm, xdist as it is by default."""

    def offload() -> Measured:
        return workspace.run("offload", "run", "-p", str(WORKERS))

    def cold() -> Measured:
        workspace.forget()
        return offload()

    def xdist(*more: str) -> Callable[[], Measured]:
        return lambda: workspace.run("pytest", "-q", "-n", str(WORKERS), *more, *paths)

    return (
        Contender("offload run, cold", cold),
        Contender(f"pytest -n {WORKERS} --dist worksteal", xdist("--dist", "worksteal")),
        Contender("offload run, warm", offload),
        Contender(f"pytest -n {WORKERS}", xdist()),
    )


def speed(workspace: Workspace, paths: Sequence[str], pairs: int, informative: int) -> None:
    """Run the pairs and print the table."""
    cold, stealing, warm, default = contenders(workspace, paths)
    for contender in (cold, stealing):
        contender.run()  # compiled files, the file system's cache
    print(f"{'pair':>4} {'offload':>8} {'xdist':>8} {'ratio':>6}  load")
    ratios = []
    for number in range(1, pairs + 1):
        for contender in (cold, stealing) if number % 2 else (stealing, cold):
            contender.again()
            if contender is cold:
                cold.figures.append(figures_of(workspace.journal))
        ratios.append(cold.runs[-1].wall / stealing.runs[-1].wall)
        walls = f"{cold.runs[-1].wall:8.1f} {stealing.runs[-1].wall:8.1f} {ratios[-1]:6.3f}"
        print(f"{number:>4} {walls}  {machine().rpartition('load ')[2]}", flush=True)
    for _ in range(min(pairs, informative)):
        for contender in (warm, default):
            contender.again()
            if contender is warm:
                warm.figures.append(figures_of(workspace.journal))
    _table([each for each in (cold, warm, stealing, default) if each.runs])
    verdict = "met" if statistics.median(ratios) <= TARGET else "MISSED"
    print(f"\nmedian ratio, cold: {statistics.median(ratios):.3f} (target: at most {TARGET:g}, {verdict})")
    if warm.runs:
        print(f"ratio of medians, warm: {warm.median('wall') / stealing.median('wall'):.3f}")


def _table(contestants: Sequence[Contender]) -> None:
    """Medians. What a journal tells is printed for Offload only."""
    print(f"\nmedians, s {'':20} {'runs':>4} {'wall':>7} {'own CPU':>8} {'children':>8} {'1st test':>8}")
    for each in contestants:
        wall, own, children, first = map(each.median, ("wall", "own_cpu", "children_cpu", "first_start"))
        print(f"{each.name:<31} {len(each.runs):>4} {wall:7.1f} {own:8.2f} {children:8.1f} {first:8.2f}")
    for each in contestants:
        if each.figures:
            for line in Figures.median(each.figures).lines():
                print(f"{each.name}: {line}")


if __name__ == "__main__":
    sys.exit(main())
