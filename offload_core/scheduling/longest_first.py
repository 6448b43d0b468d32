"""Longest first, by module: the policy that ships.

Graham's LPT rule ("Bounds on multiprocessing timing anomalies", 1969) over tests that are long for the work that is
left; everything else goes by module, because tests of one module share an import and fixtures, in chunks that shrink
as the queue empties (guided self-scheduling, Polychronopoulos and Kuck, 1987). Where each bundle costs the start of a
process, a chunk holds tests of several modules, and is never so small that the start would be most of its time.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count

from attrs import define, field

from ..abc import Test
from .estimates import Estimates
from .protocol import Bundle

CHUNKS_PER_WORKER = 2
"""How many bundles each worker should still get from what waits now."""

PREFETCH_SECS = 0.5
"""A worker that has no more than this to do gets its next bundle ahead, so that it does not wait for an answer. Not
earlier: what is held by a busy worker does not run, and the longest tests would be held first."""

_SHORTEST_SECS = 1e-4


@define(eq=False)
class _Module:
    """The waiting tests of one affinity, in the order they came. `touched`: some worker has had tests of it."""

    tests: dict[str, Test] = field(factory=dict)
    secs: float = 0.0
    touched: bool = False


class LongestFirst:
    """See the module's docstring; the methods are those of `Scheduler`.

    Both heaps are lazy: an entry that no longer tells the truth is dropped or corrected when it comes to the top, so
    that every operation takes logarithmic time.
    """

    def __init__(
        self, estimates: Estimates | None = None, *, start_secs: float = 0.0, module_secs: float = 0.0
    ) -> None:
        """`start_secs`: what it costs to start on a bundle; 0 where a process waits for it. `module_secs`: see
        `Framework.module_secs`."""
        self._estimates = estimates or Estimates()
        self._start_secs = start_secs
        self._observed = 0
        self._module_secs = module_secs
        self._secs: dict[str, float] = {}
        self._order = count()
        self._modules: dict[str, _Module] = {}
        self._queued: dict[str, _Module] = {}
        self._queued_secs = 0.0
        self._by_length: list[tuple[float, int, Test]] = []
        self._by_module: list[tuple[bool, float, int, str]] = []
        self._individual: list[tuple[float, int, Test]] = []
        self._retries: deque[tuple[Test, str]] = deque()
        self._suspects: deque[Bundle] = deque()
        self._latest: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """How many tests wait."""
        suspects = sum(len(bundle.tests) for bundle in self._suspects)
        return len(self._queued) + len(self._individual) + len(self._retries) + suspects

    @property
    def fresh_needed(self) -> int:
        """How many bundles wait for a fresh sandbox."""
        return sum(bundle.fresh for bundle in self._suspects)

    def estimate(self, test: Test) -> float:
        """The estimate this policy works with, in seconds. Fixed when it is first asked for."""
        secs = self._secs.get(test.key)
        if secs is None:
            secs = self._secs[test.key] = self._estimates.of(test)
        return secs

    def add(self, tests: Iterable[Test]) -> None:
        """Queue tests."""
        grown: dict[str, None] = {}
        for test in tests:
            secs = self.estimate(test)
            entry = (-secs, next(self._order), test)
            if test.individual:
                heapq.heappush(self._individual, entry)
                continue
            module = self._modules.setdefault(test.affinity, _Module())
            module.tests[test.key] = test
            module.secs += secs
            self._queued[test.key] = module
            self._queued_secs += secs
            heapq.heappush(self._by_length, entry)
            grown[test.affinity] = None
        for affinity in grown:
            self._rank(affinity)

    def retry(self, test: Test, avoid: str) -> None:
        """Queue a retry."""
        self._retries.append((test, avoid))

    def suspect(self, tests: Sequence[Test], *, fresh: bool) -> None:
        """Queue suspects."""
        self._suspects.append(Bundle(tests=tuple(tests), alone=True, suspect=True, fresh=fresh))

    def take(self, worker: str, *, workers: int, fresh: bool, busy: bool) -> Bundle | None:
        """The next bundle: suspects, then retries, then individual tests, then what is longest."""
        suspects = next((bundle for bundle in self._suspects if fresh or not bundle.fresh), None)
        if busy and (suspects is not None or self._individual):
            return None
        if suspects is not None:
            self._suspects.remove(suspects)
            return suspects
        for retry in self._retries:
            test, avoid = retry
            if (avoid != worker or workers == 1) and not (busy and test.individual):
                self._retries.remove(retry)
                return Bundle(tests=(test,), alone=test.individual)
        if self._individual:
            return Bundle(tests=(heapq.heappop(self._individual)[2],), alone=True)
        if not self._queued:
            return None
        longest = self._longest()
        share = max(self._queued_secs / (workers * CHUNKS_PER_WORKER), self._least(longest, workers))
        if self.estimate(longest) >= share and not self._is_whole(longest.affinity):
            self._remove(longest)
            self._rank(longest.affinity)
            return Bundle(tests=(longest,))
        return self._chunk(worker, share)

    def expected(self, test: Test) -> float:
        """The estimate, corrected by what this run has shown."""
        return self._estimates.expected(test)

    def observe(self, secs: float) -> None:
        """A test took so long."""
        self._observed += 1
        self._estimates.observe(secs)

    def nearly_done(self, tests: Iterable[Test]) -> bool:
        """Whether these tests should take less than `PREFETCH_SECS`."""
        secs = 0.0
        for test in tests:
            secs += self._estimates.expected(test)
            if secs > PREFETCH_SECS:
                return False
        return True

    def clear(self) -> list[Test]:
        """Drop everything that waits, and return it."""
        dropped = [test for module in self._modules.values() for test in module.tests.values()]
        dropped += [test for _, _, test in self._individual]
        dropped += [test for test, _ in self._retries]
        dropped += [test for bundle in self._suspects for test in bundle.tests]
        for waiting in (self._modules, self._queued, self._by_length, self._by_module, self._individual):
            waiting.clear()
        self._retries.clear()
        self._suspects.clear()
        self._queued_secs = 0.0
        return dropped

    def _least(self, test: Test, workers: int) -> float:
        """What a chunk has at least, for its start not to be most of its time.

        If this run has shown that all takes a tenth of its estimate, that is ten times as much. But while less has been
        seen than is left, no more than each worker's part: what comes may be different.
        """
        least = 2 * self._start_secs
        scaled = least * self.estimate(test) / max(self.expected(test), _SHORTEST_SECS)
        if self._observed < len(self._queued):
            scaled = min(scaled, self._queued_secs / workers)
        return max(least, scaled)

    def _longest(self) -> Test:
        """The longest queued test; there is one."""
        while self._by_length[0][2].key not in self._queued:
            heapq.heappop(self._by_length)
        return self._by_length[0][2]

    def _chunk(self, worker: str, share: float) -> Bundle:
        """The first tests of one module, up to `share` seconds: the module the worker is warm in, else the best.

        Where a start costs something, the next module's follow, as far as they fit.
        """
        affinity = self._latest.get(worker, "")
        if affinity not in self._modules:
            affinity = self._best_module()
        self._latest[worker] = affinity
        taken = self._first_of(affinity, share)
        secs = sum(map(self.estimate, taken))
        while self._start_secs and self._queued and affinity not in self._modules:
            affinity = self._best_module()
            more = self._first_of(affinity, share - secs, at_least=0)
            taken += more
            secs += sum(map(self.estimate, more))
        return Bundle(tests=tuple(taken))

    def _first_of(self, affinity: str, share: float, *, at_least: int = 1) -> list[Test]:
        """Take the first tests of a module, up to `share` seconds."""
        module = self._modules[affinity]
        if self._is_whole(affinity):
            share = math.inf if at_least or module.secs <= share else 0.0
        taken: list[Test] = []
        secs = 0.0
        for test in tuple(module.tests.values()):
            secs += self.estimate(test)
            if len(taken) >= at_least and secs > share:
                break
            taken.append(test)
            self._remove(test)
        module.touched = module.touched or bool(taken)
        self._rank(affinity)
        return taken

    def _is_whole(self, affinity: str) -> bool:
        """Whether a module's tests stay together, because as far as is known they take less than to import it again."""
        if not self._module_secs:
            return False
        return sum(map(self._estimates.shown, self._modules[affinity].tests.values())) < self._module_secs

    def _best_module(self) -> str:
        """The largest module nobody has touched, else the largest; there is one."""
        while True:
            touched, secs, _, affinity = self._by_module[0]
            module = self._modules.get(affinity)
            if module is not None and (module.touched, -module.secs) == (touched, secs):
                return affinity
            heapq.heappop(self._by_module)

    def _remove(self, test: Test) -> None:
        module = self._queued.pop(test.key)
        del module.tests[test.key]
        secs = self.estimate(test)
        module.secs -= secs
        self._queued_secs = max(self._queued_secs - secs, 0.0)
        if not module.tests:
            del self._modules[test.affinity]

    def _rank(self, affinity: str) -> None:
        module = self._modules.get(affinity)
        if module is not None:
            heapq.heappush(self._by_module, (module.touched, -module.secs, next(self._order), affinity))
