"""What a report needs of the journal beyond the accounting: lanes, every execution of every test, and when."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field

from ...abc import Attempt, Section
from ...events import (
    AttemptDropped,
    AttemptFinished,
    Incident,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    SessionEnded,
    SessionOpened,
    Stamped,
    TestBegan,
)
from ..accounting import Accounting
from ..sanitize import cut, one_line, printable

MAX_TEXT = 64 * 1024
"""Characters of one text that are held while the report is made; what fits into the file may be less."""
MAX_MESSAGE = 1000
MAX_SECTIONS = 20


@define
class Session:
    """A test session in a sandbox. Times in seconds since the run started; None where it never came to that."""

    opened: float
    ended: float | None = None
    complete: bool = False


@define
class Lane:
    """A sandbox, from the order for it to its end."""

    name: str
    starting: float
    ready: float | None = None
    ended: float | None = None
    how: SandboxEnd | None = None
    reason: str = ""
    sessions: dict[str, Session] = field(factory=dict)


@define
class Execution:
    """A test that ran in a sandbox. `end` is None while it has not ended; `dropped`: it did not count."""

    number: int
    sandbox: str
    start: float
    end: float | None = None
    hedge: bool = False
    again: bool = False
    dropped: bool = False


@define
class Recorded:
    """A journal, read once. Texts are printable and bounded; executions are by test, in the order they began."""

    accounting: Accounting = field(factory=Accounting)
    lanes: dict[str, Lane] = field(factory=dict)
    executions: dict[str, dict[int, Execution]] = field(factory=dict)
    incidents: list[tuple[float, Incident]] = field(factory=list)

    @classmethod
    def of(cls, events: Iterable[Stamped]) -> Recorded:
        """All of a journal."""
        recorded = cls()
        for stamped in events:
            recorded.take(stamped)
        return recorded

    def take(self, stamped: Stamped) -> None:
        """Take one event into account."""
        at, event = stamped.at, stamped.event
        match event:
            case AttemptFinished(attempt, again):
                event = AttemptFinished(bounded(attempt), again)
                self._ended(attempt.test, attempt.number, at).again = again
            case TestBegan():
                by_number = self.executions.setdefault(event.test, {})
                by_number[event.number] = Execution(event.number, event.sandbox, at, hedge=event.hedge)
            case AttemptDropped():
                self._ended(event.test, event.number, at).dropped = True
            case Incident():
                self.incidents.append((at, event))
            case _:
                self._lane(event, at)
        self.accounting.apply(event, at)

    def _ended(self, test: str, number: int, at: float) -> Execution:
        by_number = self.executions.setdefault(test, {})
        # what has ended without having begun did so in no sandbox that is known
        execution = by_number.setdefault(number, Execution(number, "", at))
        execution.end = at if execution.end is None else execution.end
        return execution

    def _lane(self, event: object, at: float) -> None:
        match event:
            case SandboxStarting(sandbox=name):
                self.lanes[name] = Lane(name, at)
            case SandboxReady(sandbox=name):
                self._named(name, at).ready = at
            case SandboxEnded(sandbox=name):
                lane = self._named(name, at)
                lane.ended, lane.how, lane.reason = at, event.how, event.reason
            case SessionOpened(sandbox=name):
                self._named(name, at).sessions[event.session] = Session(at)
            case SessionEnded(sandbox=name):
                session = self._named(name, at).sessions.setdefault(event.session, Session(at))
                session.ended, session.complete = at, event.complete
            case _:
                pass

    def _named(self, name: str, at: float) -> Lane:
        return self.lanes.setdefault(name, Lane(name, at))


def bounded(attempt: Attempt) -> Attempt:
    """The attempt with texts that can be shown, and that cannot fill the memory."""
    sections = [Section(one_line(each.title, 200), _text(each.text)) for each in attempt.output[:MAX_SECTIONS]]
    if left_out := len(attempt.output) - len(sections):
        sections.append(Section(f"{left_out} more sections are left out here", ""))
    return evolve(
        attempt,
        message=one_line(attempt.message, MAX_MESSAGE),
        details=_text(attempt.details),
        output=tuple(sections),
    )


def _text(text: str) -> str:
    return printable(cut(text, MAX_TEXT))
