"""The ledger: every test of a run, its attempts, what is owed and what is decided.

Pure: it consumes events and does no I/O. There is one in the program. The execution asks it what a test still needs,
reports ask it what to say, and a journal that is read again gives the same answers.
"""

from __future__ import annotations

from collections import Counter

from attrs import define, evolve, field

from . import events
from .abc import Attempt, Outcome, State, Test


@define
class Record:
    """One test and all that happened to it.

    Attributes:
        attempts: those that have ended and count, in the order of their ends.
        not_run: why the run ends without a verdict on it.
        again: whether its last attempt is not its verdict, because another follows.
        begun: the number of the attempt that began last.
    """

    test: Test
    attempts: list[Attempt] = field(factory=list)
    not_run: str | None = None
    again: bool = False
    begun: int = 0

    @property
    def state(self) -> State:
        """The one state it is in now; `not_run` until there is evidence.

        Lost attempts say nothing. The last of the others decides; a good end after a bad one is `flaky`.
        """
        last = self.deciding
        if last is None:
            return State.NOT_RUN
        return State.FLAKY if last.outcome.good and self.bad_attempts else State(last.outcome.value)

    @property
    def decided(self) -> bool:
        """Whether its state is its verdict."""
        return not self.again and self.state is not State.NOT_RUN

    @property
    def owed(self) -> bool:
        """Whether the run still has to find a verdict."""
        return self.not_run is None and not self.decided

    @property
    def bad_attempts(self) -> list[Attempt]:
        """Those that are evidence against the test."""
        return [attempt for attempt in self.attempts if attempt.outcome.bad]

    @property
    def deciding(self) -> Attempt | None:
        """The attempt that its state comes from."""
        return next((each for each in reversed(self.attempts) if each.outcome is not Outcome.LOST), None)


@define
class Ledger:
    """All records of a run, in the order of discovery."""

    records: dict[str, Record] = field(factory=dict)
    _states: Counter[State] = field(factory=Counter)
    _verdicts: Counter[State] = field(factory=Counter)
    _owed: int = 0

    def apply(self, event: events.Event, at: float = 0.0) -> None:
        """Take one event into account, which happened at this second of the run. Others than of tests are ignored.

        Raises:
            KeyError: it tells of a test that was never listed.
        """
        match event:
            case events.AttemptFinished() | events.AttemptAmended() | events.AttemptDropped() | events.TestNotRun():
                self._test(event)
            case events.TestBegan():
                record = self.records[event.test]
                record.begun = max(record.begun, event.number)
            case events.TestDiscovered(test):
                self._add(Record(test))
            case events.ModuleCollected():
                self._add(_module(event, at))
            case _:
                pass

    def id_of(self, key: str) -> str:
        """The id of a test; the key itself if it was never listed."""
        return self.records[key].test.id if key in self.records else key

    # -- what is owed ---------------------------------------------------------------------------------------------

    @property
    def owed(self) -> int:
        """How many tests have no verdict yet."""
        return self._owed

    def owes(self, key: str) -> bool:
        """Whether a test has no verdict yet."""
        record = self.records.get(key)
        return record is not None and record.owed

    # -- what is decided ------------------------------------------------------------------------------------------

    def counts(self) -> Counter[State]:
        """How many tests are in each state."""
        return +self._states

    def verdicts(self) -> Counter[State]:
        """How many tests are decided, in each state."""
        return +self._verdicts

    @property
    def failed(self) -> int:
        """How many tests are decided, and fail the run."""
        return sum(number for state, number in self._verdicts.items() if state.bad)

    @property
    def decided(self) -> int:
        """How many tests have their verdict."""
        return self._verdicts.total()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _test(self, event: events.AttemptEvent | events.TestNotRun) -> None:
        record = self.records[event.attempt.test if isinstance(event, events.AttemptFinished) else event.test]
        self._count(record, -1)
        match event:
            case events.AttemptFinished():
                record.attempts.append(event.attempt)
                record.begun = max(record.begun, event.attempt.number)
                record.again = event.again
            case events.AttemptAmended():
                record.attempts = [
                    _amended(each, event) if each.number == event.number else each for each in record.attempts
                ]
                record.again = record.again or event.again
            case events.AttemptDropped():
                record.attempts = [each for each in record.attempts if each.number != event.number]
            case events.TestNotRun():
                record.not_run = event.reason
                record.again = False
        self._count(record, +1)

    def _add(self, record: Record) -> None:
        self.records[record.test.key] = record
        self._count(record, +1)

    def _count(self, record: Record, by: int) -> None:
        state = record.state
        self._states[state] += by
        self._owed += by * record.owed
        if state is not State.NOT_RUN and not record.again:
            self._verdicts[state] += by


def _module(event: events.ModuleCollected, at: float) -> Record:
    attempt = Attempt(
        test=event.key,
        number=1,
        sandbox="",
        session="discovery",
        outcome=Outcome.ERROR if event.failed else Outcome.SKIPPED,
        start=at,
        duration=0.0,
        message=event.message,
        details=event.details,
    )
    test = Test(key=event.key, id=event.path, group=event.group, path=event.path, affinity=event.path)
    return Record(test, [attempt])


def _amended(attempt: Attempt, event: events.AttemptAmended) -> Attempt:
    """The attempt with a late teardown failure: a good one becomes an error, a bad one keeps its outcome."""
    details = "\n".join(part for part in (attempt.details, event.details) if part)
    if attempt.outcome.bad:
        return evolve(attempt, details=details)
    return evolve(attempt, outcome=Outcome.ERROR, message=event.message, details=details)
