"""What a report needs of the journal beyond the accounting: lanes, every execution of every test, and when."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field

from ... import events
from ...abc import Attempt, Section
from ...kit import cut
from ..accounting import Accounting
from ..sanitize import one_line, printable

LIMITS = (64 * 1024, 16 * 1024, 4096, 1024, 256, 0)
"""Characters that a text may be cut to."""
BUDGETS = {True: 1_500_000, False: 500_000}
"""Bytes of the file for what attempts that failed said, and for what all others did."""
MARK = "\n[… characters left out …]\n"
"""Stands for what was cut. A text may be cut twice, so it tells no number."""
MAX_MESSAGE = 1000
MAX_SECTIONS = 20


@define
class Session:
    """A test session in a sandbox. Times in seconds since the run started; None where it never came to that."""

    opened: float
    ended: float | None = None


@define
class Lane:
    """A sandbox, from the order for it to its end."""

    name: str
    starting: float
    ready: float | None = None
    ended: float | None = None
    how: events.SandboxEnd | None = None
    reason: str = ""
    sessions: dict[str, Session] = field(factory=dict)


@define
class Execution:
    """A test that ran in a sandbox. `end` is None while it has not ended; `dropped`: it did not count."""

    sandbox: str
    start: float
    end: float | None = None
    hedge: bool = False
    again: bool = False
    dropped: bool = False


class _Held:
    """Keeps texts within a budget: each is cut to the largest of `LIMITS` with which all so far could fit.

    The page's own limit can only be the same or less, so nothing is lost that it could show.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._totals = dict.fromkeys(LIMITS, 0)

    def text(self, text: str) -> str:
        """The text as it can be shown and held."""
        for limit in LIMITS:
            self._totals[limit] += min(len(text), limit)
        limit = next(limit for limit in LIMITS if self._totals[limit] <= self._budget)
        return printable(cut(text, limit, mark=MARK))


@define
class Recorded:
    """A journal, read once. Texts are printable and bounded; executions are by test, in the order they began."""

    accounting: Accounting = field(factory=Accounting)
    lanes: dict[str, Lane] = field(factory=dict)
    executions: dict[str, dict[int, Execution]] = field(factory=dict)
    incidents: list[tuple[float, events.Incident]] = field(factory=list)
    _held: dict[bool, _Held] = field(
        init=False, factory=lambda: {bad: _Held(budget) for bad, budget in BUDGETS.items()}
    )

    @classmethod
    def of(cls, journal: Iterable[events.Stamped]) -> Recorded:
        """All of a journal."""
        recorded = cls()
        for stamped in journal:
            recorded.take(stamped)
        return recorded

    def take(self, stamped: events.Stamped) -> None:
        """Take one event into account."""
        at, event = stamped.at, stamped.event
        match event:
            case events.AttemptFinished(attempt, again):
                event = events.AttemptFinished(_bounded(attempt, self._held[attempt.outcome.bad]), again)
                self._ended(attempt.test, attempt.number, at).again = again
            case events.AttemptAmended():
                details = self._held[True].text(event.details)
                event = evolve(event, message=one_line(event.message, MAX_MESSAGE), details=details)
            case events.TestBegan():
                by_number = self.executions.setdefault(event.test, {})
                by_number[event.number] = Execution(event.sandbox, at, hedge=event.hedge)
            case events.AttemptDropped():
                self._ended(event.test, event.number, at).dropped = True
            case events.Incident():
                self.incidents.append((at, event))
            case _:
                self._lane(event, at)
        self.accounting.apply(event, at)

    def _ended(self, test: str, number: int, at: float) -> Execution:
        by_number = self.executions.setdefault(test, {})
        # what has ended without having begun did so in no sandbox that is known
        execution = by_number.setdefault(number, Execution("", at))
        execution.end = at if execution.end is None else execution.end
        return execution

    def _lane(self, event: object, at: float) -> None:
        match event:
            case events.SandboxStarting(sandbox=name):
                self.lanes[name] = Lane(name, at)
            case events.SandboxReady(sandbox=name):
                self._named(name, at).ready = at
            case events.SandboxEnded(sandbox=name):
                lane = self._named(name, at)
                lane.ended, lane.how, lane.reason = at, event.how, event.reason
            case events.SessionOpened(sandbox=name):
                self._named(name, at).sessions[event.session] = Session(at)
            case events.SessionEnded(sandbox=name):
                self._named(name, at).sessions.setdefault(event.session, Session(at)).ended = at
            case _:
                pass

    def _named(self, name: str, at: float) -> Lane:
        return self.lanes.setdefault(name, Lane(name, at))


def _bounded(attempt: Attempt, held: _Held) -> Attempt:
    """The attempt with texts that can be shown, and that cannot fill the memory."""
    details = held.text(attempt.details)
    sections = [Section(one_line(each.title, 200), held.text(each.text)) for each in attempt.output[:MAX_SECTIONS]]
    if left_out := len(attempt.output) - len(sections):
        sections.append(Section(f"{left_out} more sections are left out here", ""))
    return evolve(attempt, message=one_line(attempt.message, MAX_MESSAGE), details=details, output=tuple(sections))
