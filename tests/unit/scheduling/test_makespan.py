"""How long a suite takes under the scheduling policy: a discrete-event simulation without I/O, in virtual seconds."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping

import pytest

from offload_core.abc import Test
from offload_core.scheduling import Estimates, LongestFirst, half_of, most_held

SUITE = 1500


def lognormal(random: random.Random) -> list[float]:
    """A long tail, as real suites have."""
    return [random.lognormvariate(0, 1.5) for _ in range(SUITE)]


def equal(random: random.Random) -> list[float]:
    """All the same."""
    return [1.0] * SUITE


def giants(random: random.Random) -> list[float]:
    """Thousands of tiny ones and a few that take minutes."""
    return [random.uniform(0.001, 0.05) for _ in range(SUITE - 7)] + [random.uniform(60, 200) for _ in range(7)]


def uniform(random: random.Random) -> list[float]:
    """Anything up to ten seconds."""
    return [random.uniform(0.01, 10) for _ in range(SUITE)]


class Workers:
    """Workers that pull, prefetch and steal as the execution's do, but answer at once."""

    def __init__(self, count: int, durations: Mapping[str, float], policy: LongestFirst) -> None:
        self.durations = durations
        self.policy = policy
        self.held: dict[str, dict[str, Test]] = {f"s{number}": {} for number in range(count)}
        self.running: dict[str, Test] = {}
        self.done: list[str] = []
        self.finishing: list[tuple[float, str]] = []

    def makespan(self) -> float:
        """Run everything; the time of the last end."""
        now = 0.0
        self._feed(now)
        while self.finishing:
            now, worker = heapq.heappop(self.finishing)
            test = self.running.pop(worker)
            self.done.append(test.key)
            self.policy.observe(self.durations[test.key])
            self._start(worker, now)
            self._feed(now)
        return now

    def _start(self, worker: str, now: float) -> None:
        held = self.held[worker]
        if worker not in self.running and held:
            test = held.pop(next(iter(held)))
            self.running[worker] = test
            heapq.heappush(self.finishing, (now + self.durations[test.key], worker))
        owed = [self.running[worker], *held.values()] if worker in self.running else []
        if owed and self.policy.nearly_done(owed):
            self._take(worker, busy=True)

    def _feed(self, now: float) -> None:
        for worker in self.held:
            if worker not in self.running and (self._take(worker, busy=False) or self._steal(worker)):
                self._start(worker, now)

    def _take(self, worker: str, *, busy: bool) -> bool:
        bundle = self.policy.take(worker, workers=len(self.held), fresh=True, busy=busy)
        if bundle is not None:
            self.held[worker] |= {test.key: test for test in bundle.tests}
        return bundle is not None

    def _steal(self, thief: str) -> bool:
        victim = most_held(((name, held) for name, held in self.held.items() if name != thief), ())
        if victim is None:
            return False
        for test in half_of(self.held[victim].values(), self.policy.estimate):
            self.held[thief][test.key] = self.held[victim].pop(test.key)
        return True


@pytest.mark.parametrize("workers", [2, 8, 50])
@pytest.mark.parametrize("distribution", [lognormal, equal, giants, uniform])
@pytest.mark.parametrize("seed", [1, 2])
def test_makespan(workers: int, distribution: Callable[[random.Random], list[float]], seed: int) -> None:
    """Within 5 % of the bound with perfect estimates; without any, never above an equal share plus the longest test."""
    chance = random.Random(seed)
    secs = distribution(chance)
    chance.shuffle(secs)
    durations = {f"t{number}": each for number, each in enumerate(secs)}
    tests: list[Test] = []
    while len(tests) < SUITE:
        module = f"module {len(tests)}"
        for number in range(len(tests), min(len(tests) + chance.randrange(1, 60), SUITE)):
            key = f"t{number}"
            tests.append(Test(key=key, id=key, group="g", path=module, affinity=module))
    share, longest = sum(secs) / workers, max(secs)
    for known, bound in ((durations, 1.05 * max(share, longest)), ({}, share + longest)):
        policy = LongestFirst(Estimates(known))
        policy.add(tests)
        simulated = Workers(workers, durations, policy)
        assert simulated.makespan() <= bound
        assert sorted(simulated.done) == sorted(durations)
