"""Hedging: a worker with nothing else to do runs a test a second time that takes longer than expected.

The first verdict counts. The idea is that of hedged requests (J. Dean, L. A. Barroso: The Tail at Scale, 2013).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from ..abc import Test
from ..scheduling import Bundle, Scheduler, overdue_by
from .attempts import Attempts, RunningAttempt
from .fleet import WorkerView


@define(eq=False)
class Hedging:
    """Chooses what is hedged.

    Attributes:
        suspects: keys of tests that are suspected of ending their sandbox: no second copy of them is started.
    """

    attempts: Attempts
    scheduler: Scheduler
    enabled: bool = True
    suspects: set[str] = field(factory=set, init=False)
    _handed_to: dict[str, WorkerView] = field(factory=dict, init=False)

    def overdue(self) -> RunningAttempt | None:
        """The attempt that is longest past its estimate, if nothing waits to be run a first time.

        Not one that has a second copy, or was told to stop. Of several that one session runs, nobody knows since when
        each of them does.
        """
        if not self.enabled or self.scheduler.waiting:
            return None
        now = self.attempts.bus.clock()
        running = list(self.attempts.running())
        at_once = Counter(attempt.session for attempt in running)
        best: RunningAttempt | None = None
        most = 0.0
        for attempt in running:
            key = attempt.test.key
            if len(self.attempts.copies(key)) > 1 or attempt in self.attempts.unwanted or key in self._handed_to:
                continue
            if at_once[attempt.session] == 1 and key not in self.suspects:
                past = overdue_by(now - attempt.since, self.scheduler.expected(attempt.test))
                if past > most:
                    best, most = attempt, past
        return best

    def hand_to(self, worker: WorkerView) -> Bundle | None:
        """What this worker should run a second time, or None."""
        attempt = self.overdue()
        if attempt is None or attempt.worker is worker:
            return None
        self._handed_to[attempt.test.key] = worker
        return Bundle(tests=(attempt.test,), alone=attempt.test.individual)

    def settled(self, tests: Iterable[Test]) -> None:
        """A second copy of these has begun, or will not: it came back."""
        for test in tests:
            self._handed_to.pop(test.key, None)

    def left(self, worker: WorkerView) -> None:
        """A worker is gone, with what it was handed."""
        for key in [key for key, handed_to in self._handed_to.items() if handed_to is worker]:
            del self._handed_to[key]
