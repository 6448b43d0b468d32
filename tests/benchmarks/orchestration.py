"""The whole orchestration without real sandboxes: many tests, hundreds of sandboxes that start late, some that die.

Provider and framework live in memory, behind the real contracts; dispatcher, scheduler, pool, accounting and the
journal on disk are the real ones. The clock is simulated: waiting takes no time, and the CPU time of this process,
times `--cpu-cost`, counts as time that the orchestrator was busy. So the figures do not depend on what else the
machine does. Prints one line for each of known and unknown durations, without and with deaths.

`bound` is max(total / sandboxes, longest test): no schedule is shorter. `allowed` is, with known durations, 1.05 times
the bound (with deaths 1.10 times) and one sandbox start; with unknown ones total / sandboxes, the longest test and one
start. Deaths add, for the worst of the attempts that were lost, its time, one start, and its test once more.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from asyncio import get_running_loop
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, frozen

from offload_core import __version__
from offload_core.abc import Attempt, LivenessSettings, Outcome, SandboxRef
from offload_core.errors import ReportError
from offload_core.events import AttemptFinished, RunStarted, SandboxEnd, SandboxEnded, Stamped
from offload_core.results.journal import JournalWriter, read_journal
from tests.benchmarks.workspace import machine
from tests.support.simulation import Backend, Behaviour, Simulated, make_tests, simulate
from tests.support.virtual_time import run_virtually

SIGMA = 1.0
TESTS_PER_MODULE = 25
TARGET_CPU_MS = 1.0


@frozen(kw_only=True)
class Scenario:
    """What is simulated. Times in seconds.

    Attributes:
        total: of all tests' durations, which are log-normal with `SIGMA`.
        start: from the order of a sandbox until it can work.
        dying: the share of the first sandboxes that die, at a time that is uniform over 90 % of what an even share of
            the work takes. Their replacements live: a test that was running in two that died would be `crashed`.
        known: whether durations are known before.
        cpu_cost: simulated seconds for each second of CPU time of this process.
    """

    tests: int = 10_000
    sandboxes: int = 500
    total: float = 50_000.0
    start: float = 10.0
    dying: float = 0.0
    known: bool = True
    cpu_cost: float = 1.0
    seed: int = 1

    def durations(self) -> dict[str, float]:
        """Seconds by test."""
        draw = random.Random(self.seed)
        drawn = [draw.lognormvariate(0.0, SIGMA) for _ in range(self.tests)]
        factor = self.total / sum(drawn)
        return {f"t{number}": each * factor for number, each in enumerate(drawn)}

    def bound(self) -> float:
        """What no schedule can undercut, without the first sandbox's start."""
        return max(self.total / self.sandboxes, max(self.durations().values()))


@frozen(kw_only=True)
class Played:
    """What came of a scenario.

    Attributes:
        states: how many tests ended in each state, by the accounting. verdicts: how many verdicts each test has in the
            journal: `{1: tests}` if all is well.
        makespan: until the last test ended. allowed: what it should be at most.
        lost: what had run when a sandbox died. deaths: how many did.
        cpu: seconds of CPU time for everything, the simulation too.
    """

    states: Mapping[str, int]
    verdicts: Mapping[int, int]
    makespan: float
    bound: float
    allowed: float
    lost: float
    deaths: int
    cpu: float


def play(scenario: Scenario) -> Played:
    """Simulate a scenario."""
    durations = scenario.durations()
    suite = {test: Behaviour(secs=secs) for test, secs in durations.items()}
    dice = random.Random(scenario.seed)

    def doom(ref: SandboxRef) -> None:
        if len(backend.deaths) <= scenario.sandboxes and dice.random() < scenario.dying:
            after = dice.uniform(0.0, 0.9) * scenario.total / scenario.sandboxes
            get_running_loop().call_later(after, lambda: None if backend.deaths[ref].is_set() else backend.kill(ref))

    backend = Backend(suite, start_secs=lambda number: scenario.start, on_create=doom)
    failures: list[ReportError] = []
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
        path = Path(directory) / "events.jsonl"
        journal = JournalWriter(path, failures)
        journal(Stamped(0.0, _first(scenario)))
        began = time.process_time()
        run = run_virtually(
            simulate(
                make_tests(suite, per_module=TESTS_PER_MODULE),
                backend,
                max_parallel=scenario.sandboxes,
                liveness=LivenessSettings(),
                estimates=durations if scenario.known else {},
                consumers=[journal],
                limit=1e6,
            ),
            scenario.cpu_cost,
        )
        cpu = time.process_time() - began
        journal.close()
        if failures:
            raise failures[0]
        return _played(scenario, durations, run, path, cpu)


def _first(scenario: Scenario) -> RunStarted:
    return RunStarted(
        offload=__version__,
        run_id="run",
        epoch=time.time(),
        argv=(),
        provider="memory",
        framework="memory",
        max_parallel=scenario.sandboxes,
    )


def _played(scenario: Scenario, durations: Mapping[str, float], run: Simulated, journal: Path, cpu: float) -> Played:
    verdicts = Counter(dict.fromkeys(durations, 0))
    lost: list[Attempt] = []
    makespan = 0.0
    deaths = 0
    for stamped in read_journal(journal):
        match stamped.event:
            case AttemptFinished(attempt, again):
                makespan = max(makespan, stamped.at)
                verdicts[attempt.test] += not again
                if attempt.outcome is Outcome.LOST:
                    lost.append(attempt)
            case SandboxEnded(how=SandboxEnd.DEAD):
                deaths += 1
            case _:
                pass
    return Played(
        states=Counter(run.states().values()),
        verdicts=Counter(verdicts.values()),
        makespan=makespan,
        bound=scenario.bound(),
        allowed=_allowed(scenario, durations, lost),
        lost=sum(attempt.duration for attempt in lost),
        deaths=deaths,
        cpu=cpu,
    )


def _allowed(scenario: Scenario, durations: Mapping[str, float], lost: list[Attempt]) -> float:
    factor = 1.10 if scenario.dying else 1.05
    longest = max(durations.values())
    work = factor * scenario.bound() if scenario.known else scenario.total / scenario.sandboxes + longest
    again = max((attempt.duration + scenario.start + durations[attempt.test] for attempt in lost), default=0.0)
    return work + scenario.start + again


# The table -----------------------------------------------------------------------------------------------------------


def main() -> int:
    """Play the four scenarios and print the table; 1 if a test has not exactly one verdict, else 0."""
    options = _options()
    base = Scenario(sandboxes=options.sandboxes, cpu_cost=options.cpu_cost, seed=options.seed)
    if options.quick:
        base = evolve(base, tests=base.tests // 10, sandboxes=base.sandboxes // 10, total=base.total / 10)
    print(f"{base.tests} tests, {base.total:g} s in all, {base.sandboxes} sandboxes that start in {base.start:g} s")
    print(f"{machine()}; one CPU second counts as {base.cpu_cost:g} s\n")
    print(
        f"{'durations':<9} {'deaths':>6} {'lost work':>9} {'bound':>6} {'makespan':>8} {'allowed':>7} {'':>6}"
        f" {'(m-start)/bound':>15} {'CPU ms/test':>11}  verdicts"
    )
    wrong = 0
    for known in (True, False):
        for dying in (0.0, options.dying):
            scenario = evolve(base, known=known, dying=dying)
            played = play(scenario)
            print(_line(scenario, played), flush=True)
            wrong += played.verdicts != {1: scenario.tests} or sum(played.states.values()) != scenario.tests
    print(f"\nCPU time includes the simulation; the target for all of it is less than {TARGET_CPU_MS:g} ms per test.")
    return int(bool(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.orchestration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the tests and of the sandboxes")
    parser.add_argument("--sandboxes", type=int, default=500, metavar="N", help="how many at most  [500]")
    parser.add_argument("--cpu-cost", type=float, default=1.0, metavar="S", help="see above  [1]")
    parser.add_argument("--dying", type=float, default=0.05, metavar="SHARE", help="of the sandboxes  [0.05]")
    parser.add_argument("--seed", type=int, default=1, help="of durations and deaths  [1]")
    return parser.parse_args()


def _line(scenario: Scenario, played: Played) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(played.states.items()))
    exact = "one each" if played.verdicts == {1: scenario.tests} else f"NOT ONE EACH: {dict(played.verdicts)}"
    met = "met" if played.makespan <= played.allowed else "MISSED"
    return (
        f"{'known' if scenario.known else 'unknown':<9} {played.deaths:>6} {played.lost:>9.1f} {played.bound:>6.1f}"
        f" {played.makespan:>8.1f} {played.allowed:>7.1f} {met:>6}"
        f" {(played.makespan - scenario.start) / played.bound:>15.3f}"
        f" {1000 * played.cpu / scenario.tests:>11.3f}  {states}, {exact}"
    )


if __name__ == "__main__":
    sys.exit(main())
