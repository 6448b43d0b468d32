"""What it is worth to know how long tests take: the makespan with and without, as a multiple of what is possible.

Dispatcher, scheduler, pool and the history's estimates are the real ones; sandboxes are in memory and start at once,
and the clock is simulated, so the figures are the schedule's alone and come out the same everywhere. *Bound* is
max(total / workers, longest test): no schedule is shorter. A run is planned with

    nothing     no durations at all
    last run    the durations of one earlier run
    history     those of all earlier runs, recorded and estimated as `offload run` does
    perfect     the durations that the tests are going to have

Two suites. `networkx` is four real runs of its 6,841 tests on a machine that was busy with other work, so that
durations differ much from run to run; each run in turn is the one that is played, the one before it is the last run,
and the other three are the history. `heavy tail` is drawn: Pareto with exponent 1.5, so few tests have most of the
time; from run to run a test varies by about 30 %, and one attempt in thirty takes eight times as long; the history is
of twenty runs, and one test in fifty is new.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from offload_core.abc import Test
from offload_core.events import AttemptFinished
from offload_core.history import Entry, History, RecordedDurations, Sample
from offload_core.history.reservoir import kept
from tests.support.simulation import Backend, Behaviour, simulate
from tests.support.virtual_time import run_virtually

RECORDED = Path(__file__).with_name("networkx_durations.txt")
CONFIG = "offload.toml"
WORKERS = (2, 8, 50, 200)
KNOWLEDGE = ("nothing", "last run", "history", "perfect")
SAMPLES = 20

Durations = Mapping[str, float]
"""Seconds by test id."""


@frozen
class Played:
    """A run to be played, and the earlier ones, the newest last. The tests are those of `now`, by module."""

    modules: Sequence[Sequence[str]]
    now: Durations
    earlier: Sequence[Durations]

    def tests(self) -> list[Test]:
        """As discovery finds them."""
        return [
            Test(key=id, id=id, group="all", path=f"m{number}", affinity=f"m{number}")
            for number, module in enumerate(self.modules)
            for id in module
        ]

    def bound(self, workers: int) -> float:
        """Seconds that no schedule undercuts."""
        return max(sum(self.now.values()) / workers, max(self.now.values()))

    def known(self, what: str) -> Durations:
        """What the scheduler is told."""
        match what:
            case "last run":
                return self.earlier[-1]
            case "history":
                return RecordedDurations(recorded(self.earlier), CONFIG, {}, print)
            case "perfect":
                return self.now
        return {}

    def makespan(self, workers: int, what: str) -> float:
        """Seconds until the last test has ended."""
        suite = {test: Behaviour(secs=secs) for test, secs in self.now.items()}
        run = run_virtually(
            simulate(self.tests(), Backend(suite), max_parallel=workers, estimates=self.known(what), limit=1e6)
        )
        assert run.accounting.decided == len(self.now)
        return max(each.at for each in run.events if isinstance(each.event, AttemptFinished))


def recorded(runs: Sequence[Durations]) -> History:
    """The history that runs leave in which every test passed."""
    samples: dict[str, list[Sample]] = {}
    for number, run in enumerate(runs):
        for test, secs in run.items():
            samples.setdefault(test, []).append(Sample(f"r{number}", 1_795_000_000_000 + 86_400_000 * number, secs))
    history = History(RECORDED)
    for test, each in samples.items():
        history.put((CONFIG, test), Entry(len(each), 0, each[-1].run, ok=kept(each, SAMPLES)))
    return history


def networkx(count: int) -> Iterator[Played]:
    """The recorded runs, each in turn."""
    modules: list[list[str]] = []
    runs: list[dict[str, float]] = [{}, {}, {}, {}]
    for number, line in enumerate(RECORDED.read_text(encoding="ascii").splitlines()):
        if not line.startswith("#"):
            modules.append([])
            for word in line.split():
                test = f"{number}:{len(modules[-1])}"
                modules[-1].append(test)
                for run, ticks in zip(runs, word.split("/"), strict=True):
                    run[test] = int(ticks) / 1e4
    for turn in range(count):
        *earlier, now = runs[turn + 1 :] + runs[: turn + 1]
        yield Played(modules, now, earlier)


def heavy_tail(count: int, tests: int = 4000) -> Iterator[Played]:
    """Drawn runs."""
    for seed in range(count):
        draw = random.Random(seed)
        usual = {f"t{number}": 0.05 * draw.paretovariate(1.5) for number in range(tests)}

        def run(usual: Durations = usual, draw: random.Random = draw) -> dict[str, float]:
            return {
                test: secs * draw.lognormvariate(0.0, 0.3) * (8.0 if draw.random() < 1 / 30 else 1.0)
                for test, secs in usual.items()
            }

        new = set(draw.sample(sorted(usual), tests // 50))
        earlier = [{test: secs for test, secs in run().items() if test not in new} for _ in range(20)]
        names = list(usual)
        modules = [names[first : first + 25] for first in range(0, tests, 25)]
        yield Played(modules, run(), earlier)


def main() -> int:
    """Play, and print a table for each suite."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.estimates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one run of each suite, with 8 workers")
    parser.add_argument("--runs", type=int, default=4, choices=range(1, 5), help="runs of each suite  [4]")
    options = parser.parse_args()
    suites: dict[str, Callable[[int], Iterator[Played]]] = {"networkx": networkx, "heavy tail": heavy_tail}
    for name, make in suites.items():
        runs = list(make(1 if options.quick else options.runs))
        total = statistics.mean(sum(run.now.values()) for run in runs)
        longest = statistics.mean(max(run.now.values()) for run in runs)
        print(f"\n{name}: {len(runs[0].now)} tests, {total:.0f} s in all, the longest {longest:.1f} s")
        print(f"{'workers':>7} {'bound':>8} " + " ".join(f"{what:>9}" for what in KNOWLEDGE))
        for workers in (8,) if options.quick else WORKERS:
            bound = statistics.mean(run.bound(workers) for run in runs)
            ratios = [
                statistics.mean(run.makespan(workers, what) / run.bound(workers) for run in runs) for what in KNOWLEDGE
            ]
            print(f"{workers:>7} {bound:>6.1f} s " + " ".join(f"{ratio:>9.3f}" for ratio in ratios), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
