"""The attempts that are under way, and what becomes of each. Here it is decided that a test is retried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import define, field, frozen

from ..abc import Attempt, Outcome, TeardownFailed, Test, TestFinished
from ..events import AttemptAmended, AttemptDropped, AttemptFinished, Bus, Event, TestBegan
from ..ledger import Ledger
from .fleet import WorkerView


@frozen(eq=False)
class RunningAttempt:
    """An attempt that is under way, or was when its session ended.

    Attributes:
        number: counts from 1 within the run.
        since: when it began, in seconds of the run.
        hedge: it runs beside another attempt at its test.
    """

    test: Test
    number: int
    worker: WorkerView
    session: str
    since: float
    hedge: bool = False


@define(eq=False)
class Attempts:
    """Writes down what happens to attempts, in the ledger and as events.

    Attributes:
        retrying: whether what fails is run again as often as its test says.
        ledger: what all of it adds up to.
        unwanted: attempts that were told to stop, because another one has decided.
    """

    bus: Bus
    retrying: bool = True
    ledger: Ledger = field(factory=Ledger, init=False)
    unwanted: set[RunningAttempt] = field(factory=set, init=False)
    _running: dict[str, list[RunningAttempt]] = field(factory=dict, init=False)
    _failed: Counter[str] = field(factory=Counter, init=False)  # what counts against retries: not what is judged

    def emit(self, event: Event) -> None:
        """Say what happened to a test."""
        self.ledger.apply(event, self.bus.clock())
        self.bus.emit(event)

    def running(self) -> Iterator[RunningAttempt]:
        """All that are under way."""
        return (attempt for copies in self._running.values() for attempt in copies)

    def copies(self, key: str) -> Sequence[RunningAttempt]:
        """Those at one test."""
        return self._running.get(key, ())

    def begin(self, worker: WorkerView, test: Test) -> RunningAttempt:
        """A test has started."""
        copies = self._running.setdefault(test.key, [])
        attempt = RunningAttempt(
            test=test,
            number=self.ledger.records[test.key].begun + 1,
            worker=worker,
            session=worker.session_name,
            since=self.bus.clock(),
            hedge=bool(copies),
        )
        copies.append(attempt)
        self.emit(
            TestBegan(
                test=test.key,
                number=attempt.number,
                sandbox=worker.name,
                session=attempt.session,
                hedge=attempt.hedge,
            )
        )
        return attempt

    def close(self, attempt: RunningAttempt) -> None:
        """It is not under way any more."""
        self.unwanted.discard(attempt)
        copies = self._running.get(attempt.test.key, [])
        if attempt in copies:
            copies.remove(attempt)
        if not copies:
            self._running.pop(attempt.test.key, None)

    def drop(self, attempt: RunningAttempt) -> None:
        """It has ended, and does not count."""
        self.close(attempt)
        self.emit(AttemptDropped(test=attempt.test.key, number=attempt.number))

    def end(
        self, attempt: RunningAttempt, outcome: Outcome, event: TestFinished | None = None, message: str = ""
    ) -> AttemptFinished | None:
        """It has ended in a way that says something of its test: by itself (`event`), or because it took too long.

        The first one of several copies counts; the others are told to stop. Returns what that means, None if another
        one has decided before.
        """
        key = attempt.test.key
        if not self.ledger.owes(key):
            self.drop(attempt)
            return None
        self.close(attempt)
        ended = self.ended(attempt, outcome, event=event, message=message)
        self._failed[key] += outcome.bad
        verdict = AttemptFinished(ended, again=outcome.bad and self._may_retry(attempt.test))
        self.emit(verdict)
        for other in self.copies(key):
            self.unwanted.add(other)
            other.worker.abort(attempt.test)
        return verdict

    def amend(self, attempt: RunningAttempt, event: TeardownFailed) -> AttemptAmended | None:
        """A finished test turns out to have left what cannot be torn down. None if the attempt did not count."""
        record = self.ledger.records[attempt.test.key]
        found = next((each for each in record.attempts if each.number == attempt.number), None)
        if found is None:
            return None
        self._failed[attempt.test.key] += not found.outcome.bad
        amended = AttemptAmended(
            test=attempt.test.key,
            number=attempt.number,
            message=event.message,
            details=event.details,
            # if not decided, it has failed already, and waits for its next attempt
            again=record.decided and self._may_retry(attempt.test),
        )
        self.emit(amended)
        return amended

    def _may_retry(self, test: Test) -> bool:
        """Whether a test that has failed is run again. Crashes that are judged by evidence do not count."""
        return self.retrying and self._failed[test.key] <= test.retries

    def ended(
        self, attempt: RunningAttempt, outcome: Outcome, *, event: TestFinished | None = None, message: str = ""
    ) -> Attempt:
        """An attempt as it is told, which ended now."""
        told = event or TestFinished(
            key=attempt.test.key, outcome=outcome, duration=self.bus.clock() - attempt.since, message=message
        )
        return Attempt(
            test=attempt.test.key,
            number=attempt.number,
            sandbox=attempt.worker.name,
            session=attempt.session,
            outcome=outcome,
            start=attempt.since,
            duration=told.duration,
            message=told.message,
            details=told.details,
            output=told.output,
            properties=told.properties,
            hedge=attempt.hedge,
        )
