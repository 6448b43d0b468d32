"""Who is to blame when a session or its sandbox ends before its tests do.

The rule is evidence: a test is convicted when it was alone and its process ended again, or its sandbox ended twice
more: sandboxes also die by chance, and that an innocent test is in three of them is less likely than that it is not
innocent. Until then it is a suspect, and its neighbours are not even that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen

from ..abc import Test

_DEATHS_ALONE = 2


class CrashKind(StrEnum):
    """What ended."""

    PROCESS = "process"
    SANDBOX = "sandbox"


@frozen(kw_only=True)
class Crash:
    """What is known of the end.

    Attributes:
        running: the tests that were running when it came: one where a framework tells, else all of a batch.
        importing: the module that was being imported, when no test was running.
        unstarted: what the session still held.
        on_trial: whether these tests had the session to themselves because they were suspected.
    """

    kind: CrashKind
    running: tuple[Test, ...] = ()
    importing: str | None = None
    unstarted: tuple[Test, ...] = ()
    on_trial: bool = False


@frozen(kw_only=True)
class Ruling:
    """What follows from a crash.

    Attributes:
        convicted: they are `crashed`; no retries.
        suspects: each unit runs alone, in one session.
        broken: their module cannot be run: `error`.
        requeue: they have nothing to do with it.
    """

    convicted: tuple[Test, ...] = ()
    suspects: tuple[tuple[Test, ...], ...] = ()
    broken: tuple[Test, ...] = ()
    requeue: tuple[Test, ...] = ()


@frozen
class Poison:
    """Judges crashes, and remembers what it needs for that."""

    _idle: Counter[str] = field(factory=Counter)
    _alone: Counter[str] = field(factory=Counter)

    def judge(self, crash: Crash) -> Ruling:
        """Split the tests of a crashed session into convicted, suspects, broken and innocent."""
        if crash.running:
            unit, rest = crash.running, crash.unstarted
        elif crash.importing is not None:
            unit = tuple(test for test in crash.unstarted if test.path == crash.importing)
            rest = tuple(test for test in crash.unstarted if test.path != crash.importing)
        else:
            unit, rest = (), crash.unstarted
        if not unit:
            return self._nothing_running(crash)
        if crash.on_trial and (len(unit) == 1 or crash.importing is not None) and self._proven(crash.kind, unit[0]):
            return Ruling(convicted=unit, requeue=rest)
        return Ruling(suspects=self._units(crash, unit), requeue=rest)

    def _proven(self, kind: CrashKind, first: Test) -> bool:
        """Whether an end in which a unit was alone is enough to convict it."""
        if kind is CrashKind.PROCESS:
            return True
        self._alone[first.key] += 1
        return self._alone[first.key] >= _DEATHS_ALONE

    def _units(self, crash: Crash, unit: Sequence[Test]) -> tuple[tuple[Test, ...], ...]:
        """One unit for a test or for a module's import; halves for a batch that does not tell which test ran."""
        if crash.importing is not None or len(unit) == 1:
            return (tuple(unit),)
        half = len(unit) // 2
        return (tuple(unit[:half]), tuple(unit[half:]))

    def _nothing_running(self, crash: Crash) -> Ruling:
        """The end came between tests: once is nobody's fault, twice at the same module is that module's.

        A sandbox can die at any time: only a process that ends by itself is held against the module.
        """
        if not crash.unstarted:
            return Ruling()
        once_more = Ruling(suspects=(crash.unstarted,)) if crash.on_trial else Ruling(requeue=crash.unstarted)
        if crash.kind is CrashKind.SANDBOX:
            return once_more
        path = crash.unstarted[0].path
        self._idle[path] += 1
        if self._idle[path] < 2:
            return once_more
        return Ruling(
            broken=tuple(test for test in crash.unstarted if test.path == path),
            requeue=tuple(test for test in crash.unstarted if test.path != path),
        )
