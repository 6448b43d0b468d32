"""What an idle worker may do when nothing waits: steal what another holds, or hedge what another runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ..abc import Test

HEDGE_FACTOR = 2.0
HEDGE_MIN_SECS = 5.0
"""A running test is hedged when it has taken this many times its estimate, and at least so long."""


def most_held(held: Iterable[tuple[str, Mapping[str, Test]]], taboo: Collection[str]) -> str | None:
    """The name of the worker that holds the most tests that are not in `taboo`, or None if nobody holds any.

    Args:
        held: pairs of a worker's name and what it holds and has not started.
        taboo: keys that are being stolen.
    """
    best: str | None = None
    most = 0
    for name, tests in held:
        if len(tests) > most:
            free = len(tests) - (sum(key in taboo for key in tests) if taboo else 0)
            if free > most:
                best, most = name, free
    return best


def half_of(tests: Iterable[Test], estimate: Callable[[Test], float]) -> tuple[Test, ...]:
    """The later half of held tests by time, in order; at least one if there are any."""
    held = tuple(tests)
    budget = sum(map(estimate, held)) / 2
    secs = 0.0
    taken = 0
    for test in reversed(held):
        secs += estimate(test)
        taken += 1
        if secs >= budget:
            break
    return held[len(held) - taken :]


def overdue_by(elapsed: float, estimate: float) -> float:
    """How many seconds a running test is past its estimate if it is due to be hedged, else 0.

    The idea is that of backup tasks: Dean and Ghemawat, "MapReduce", 2004, section 3.6.
    """
    return elapsed - estimate if elapsed > max(HEDGE_FACTOR * estimate, HEDGE_MIN_SECS) else 0.0
