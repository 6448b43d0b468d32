"""What those who drive sessions tell the dispatcher of tests: all of it, as values."""

from __future__ import annotations

from attrs import frozen

from ..abc import TeardownFailed, Test, TestFinished
from ..events import Incident
from ..scheduling import Bundle, Crash
from .attempts import RunningAttempt


@frozen
class Finished:
    """A test has ended by itself."""

    attempt: RunningAttempt
    event: TestFinished


@frozen
class TimedOut:
    """A test was killed because it ran longer than so many seconds."""

    attempt: RunningAttempt
    limit: float


@frozen
class TornDownLate:
    """What a finished test shared with others could not be torn down."""

    attempt: RunningAttempt
    event: TeardownFailed


@frozen
class Aborted:
    """An attempt that nobody wants any more, or that began while its session was being killed, has ended."""

    attempt: RunningAttempt


@frozen
class Unstarted:
    """Tests that were sent and did not start, for a reason that is nobody's fault."""

    tests: tuple[Test, ...]


@frozen
class Returned:
    """A bundle that was taken and not sent."""

    bundle: Bundle


@frozen
class Suspected:
    """The session of these has ended under them. Until `Crashed` tells more, no second copy of them begins."""

    attempts: tuple[RunningAttempt, ...]


@frozen
class Crashed:
    """A session or a sandbox ended before its tests did. `incident` is completed and emitted."""

    crash: Crash
    attempts: tuple[RunningAttempt, ...]
    incident: Incident


Message = Finished | TimedOut | TornDownLate | Aborted | Unstarted | Returned | Suspected | Crashed
