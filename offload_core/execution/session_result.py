"""What came of a session: the one value from which the worker decides."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from attrs import frozen

from ..abc import Test
from ..errors import FrameworkError, ProviderError
from ..scheduling import Bundle, Crash, CrashKind
from .attempts import RunningAttempt
from .session_work import SessionWork


class SessionEnd(StrEnum):
    """How a session ended."""

    CLOSED = "closed"
    """It said goodbye, and did what it was given or gave it back."""

    KILLED = "killed"
    """It was killed, and it is known for what."""

    CRASHED = "crashed"
    """Its process ended by itself, or had to be killed for a reason that is not known."""

    BROKEN = "broken"
    """It could not be opened, does not keep the protocol, or cannot work in this sandbox."""

    GONE = "gone"
    """Its sandbox is dead or lost."""


@frozen(kw_only=True)
class SessionResult:
    """How a session ended, what it left, and whom that points at.

    Attributes:
        reason: in words; from the second line on, the last of its output.
        error: why the sandbox cannot be used any more; with `BROKEN` and `GONE` only.
        started: whether its framework was up.
        goodbye: whether it said goodbye.
        asked_to_end: whether it was asked to.
        productive: whether a test began in it.
        finished: how many tests ended by themselves.
        failed: whether something in it failed, or it did not end well.
        timed_out: attempts that were killed because they took too long.
        stuck: tests that did not begin, because the import of their module took too long.
        aborted: attempts that do not count.
        suspects: attempts that were under way at an end that nothing explains.
        unstarted: tests that it was sent and that did not begin, or did so only while it was being killed.
        importing: the module that was being imported.
        alone: the bundle that had it to itself.
        left_over: a bundle that needs a new session.
    """

    end: SessionEnd
    reason: str = ""
    error: ProviderError | FrameworkError | None = None
    started: bool = False
    goodbye: bool = False
    asked_to_end: bool = False
    productive: bool = False
    finished: int = 0
    failed: bool = False
    timed_out: tuple[RunningAttempt, ...] = ()
    stuck: tuple[Test, ...] = ()
    aborted: tuple[RunningAttempt, ...] = ()
    suspects: tuple[RunningAttempt, ...] = ()
    unstarted: tuple[Test, ...] = ()
    importing: str | None = None
    alone: Bundle | None = None
    left_over: Bundle | None = None

    def crash(self, kind: CrashKind) -> Crash:
        """What it is evidence of, if that is what ended."""
        return Crash(
            kind=kind,
            running=tuple(attempt.test for attempt in self.suspects),
            importing=self.importing,
            unstarted=self.unstarted,
            on_trial=self.alone is not None and self.alone.suspect,
        )


def result_of(
    work: SessionWork,
    how: str,
    *,
    gone: ProviderError | None = None,
    broken: ProviderError | FrameworkError | None = None,
) -> SessionResult:
    """What came of a session that has ended.

    Args:
        how: how its process ended, if that is known.
        gone: how its sandbox went, if it is gone.
        broken: why it cannot be used, if so.
    """
    kill, running = work.kill, tuple(work.running.values())
    killed = _Killed() if broken is not None else _killed(work, running)
    suspects = tuple(each for each in running if each not in killed.timed_out and each not in killed.aborted)
    told = (work.bye.reason if work.bye else kill.why if kill else "") or how
    if broken is not None:
        end, told = SessionEnd.BROKEN, str(broken)
    elif gone is not None:
        end, told = SessionEnd.GONE, gone.message
    elif killed.explained:
        end = SessionEnd.KILLED
    else:
        clean = work.bye is not None and work.hello is not None and not running
        end = SessionEnd.CLOSED if clean and (work.productive or not work.owed) else SessionEnd.CRASHED
    accounted = {attempt.test.key for attempt in (*suspects, *killed.timed_out, *killed.doomed)}
    accounted.update(test.key for test in killed.stuck)
    return SessionResult(
        end=end,
        reason=told,
        error=broken or gone,
        started=work.hello is not None,
        goodbye=work.bye is not None,
        asked_to_end=work.closing,
        productive=work.productive,
        finished=work.finished,
        failed=work.failed or bool(kill and kill.timed_out) or (work.bye is None and not (kill and kill.unwanted)),
        timed_out=killed.timed_out,
        stuck=killed.stuck,
        aborted=killed.aborted,
        suspects=suspects,
        unstarted=tuple(test for key, test in work.owed.items() if key not in accounted),
        importing=work.importing,
        alone=work.alone,
        left_over=work.first if work.first is not None else work.left_over,
    )


@frozen(kw_only=True)
class _Killed:
    """What a kill explains: attempts that timed out, tests that were stuck, attempts that do not count.

    `doomed` are those of the latter that are not run again for it.
    """

    explained: bool = False
    timed_out: tuple[RunningAttempt, ...] = ()
    stuck: tuple[Test, ...] = ()
    aborted: tuple[RunningAttempt, ...] = ()
    doomed: tuple[RunningAttempt, ...] = ()


def _killed(work: SessionWork, running: Sequence[RunningAttempt]) -> _Killed:
    """Who is to blame for a kill.

    A test that began only while the kill was on its way is not: it is run again. Nor can it be told which of several
    tests took too long: nothing is explained then, which makes all of them suspects.
    """
    kill = work.kill
    if kill is None or not kill.meant or (kill.timed_out and len(running) > 1):
        return _Killed()
    doomed = tuple(attempt for attempt in running if attempt in kill.doomed)
    timed_out = doomed if kill.timed_out else ()
    stuck: tuple[Test, ...] = ()
    if not running and kill.timed_out and work.importing == kill.importing:
        stuck = tuple(test for test in work.held.values() if test.path == work.importing)
    explained = kill.unwanted or bool(kill.doomed) or bool(stuck)
    aborted = tuple(attempt for attempt in running if attempt not in timed_out)
    return _Killed(explained=explained, timed_out=timed_out, stuck=stuck, aborted=aborted, doomed=doomed)
