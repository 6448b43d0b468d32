"""The figures of a run that say whether it was quick, and what it spent its time on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

from attrs import frozen

from ...abc import Outcome
from ...ledger import Record
from ..accounting import Accounting
from .recorded import Execution, Lane, Recorded

SLOWEST = 10
PARTS = ("creating", "opening", "testing", "rest")
"""Of a sandbox's life: until it was ready; starting sessions; while any test ran, also in vain; idle, and ending."""


@frozen(kw_only=True)
class Bound:
    """What no schedule could have undercut with these tests and so many places to run them in. Seconds.

    Attributes:
        seconds: the larger of `share` and `longest`.
        share: `work`, the time of all attempts that tell something, divided by `workers`.
        longest: the longest of those attempts.
        workers: the most sandboxes that were alive, or the most tests that ran at once if that is more.
        crowded: whether more tests than sandboxes ran at once.
        ratio: the run's wall time divided by `seconds`.
    """

    seconds: float
    work: float
    share: float
    longest: float
    workers: int
    crowded: bool
    ratio: float


def bound_of(recorded: Recorded) -> Bound | None:
    """The lower bound of a run; None where nothing took any time."""
    accounting = recorded.accounting
    durations = [
        attempt.duration
        for record in accounting.records.values()
        for attempt in record.attempts
        if attempt.outcome is not Outcome.LOST
    ]
    sandboxes = max(accounting.sandboxes_peak, 1)
    workers = max(sandboxes, _most_at_once(recorded))
    work, longest = sum(durations), max(durations, default=0.0)
    seconds = max(work / workers, longest)
    if not seconds:
        return None
    return Bound(
        seconds=seconds,
        work=work,
        share=work / workers,
        longest=longest,
        workers=workers,
        crowded=workers > sandboxes,
        ratio=accounting.now / seconds,
    )


def _most_at_once(recorded: Recorded) -> int:
    """How many tests ran at once, at most."""
    changes: list[tuple[float, int]] = []
    for name, executions in by_lane(recorded).items():
        for start, end in _intervals(executions, _end(recorded.lanes[name], recorded.accounting.now)):
            changes += (start, 1), (end, -1)  # sorted, an end comes before a start of the same time
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def _intervals(executions: Sequence[Execution], ended: float) -> list[tuple[float, float]]:
    """When something ran in a sandbox that ended then, in order; what took no time is left out."""
    found = ((each.start, ended if each.end is None else min(each.end, ended)) for each in executions)
    return sorted((start, end) for start, end in found if end > start)


def _end(lane: Lane, end: float) -> float:
    return end if lane.ended is None else lane.ended


@frozen
class SlowModule:
    """A module among the slowest: `seconds` for all attempts at its tests, `longest` for the longest of them."""

    path: str
    tests: int
    seconds: float
    longest: float


def slowest_modules(accounting: Accounting) -> list[SlowModule]:
    """The modules whose tests took longest, all attempts counted."""
    by_path: defaultdict[str, list[Record]] = defaultdict(list)
    for record in accounting.records.values():
        by_path[record.test.path].append(record)
    found = []
    for path, records in by_path.items():
        times = [attempt.duration for record in records for attempt in record.attempts]
        found.append(SlowModule(path, len(records), sum(times), max(times, default=0.0)))
    return sorted(found, key=lambda module: module.seconds, reverse=True)[:SLOWEST]


def spent(lane: Lane, executions: Sequence[Execution], end: float) -> dict[str, float]:
    """The seconds of each of `PARTS`, which add up to a sandbox's life, if the run ended at `end`."""
    ended = _end(lane, end)
    ready = ended if lane.ready is None else lane.ready
    opening, free = 0.0, ready
    for session in lane.sessions.values():
        opening += max(0.0, session.opened - free)
        free = max(free, ended if session.ended is None else session.ended)
    testing, until = 0.0, 0.0
    for start, stop in _intervals(executions, ended):
        testing += max(0.0, stop - max(start, until))
        until = max(until, stop)
    creating = ready - lane.starting
    rest = max(0.0, ended - lane.starting - creating - opening - testing)
    return dict(zip(PARTS, (creating, opening, testing, rest), strict=True))


def by_lane(recorded: Recorded) -> dict[str, list[Execution]]:
    """What ran in each sandbox, in the order of the tests."""
    found: dict[str, list[Execution]] = {name: [] for name in recorded.lanes}
    for by_number in recorded.executions.values():
        for execution in by_number.values():
            if execution.sandbox in found:
                found[execution.sandbox].append(execution)
    return found
