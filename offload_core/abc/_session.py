"""A test session: a test framework at work in one sandbox, and what it tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from attrs import frozen

from ._collection import Discovered
from ._process import Exit
from ._test import Outcome, Section, Test


@frozen(kw_only=True)
class Hello:
    """The framework is up. Nothing is known to work before this."""

    versions: str = ""


@frozen(kw_only=True)
class Collected:
    """A part of what the session lists, if it was asked to: what it found in one group, as soon as it is known.

    Attributes:
        group: its name.
        found: tests, and modules that are a result themselves.
        complete: whether this is the last of the group. A session that ends before that leaves the group unlisted.
        error: why the group as a whole could not be listed; only with `complete`.
    """

    group: str
    found: tuple[Discovered, ...] = ()
    complete: bool = False
    error: str = ""


@frozen
class ModuleStarted:
    """A module is being imported or built; the tests of it that were asked for depend on that."""

    path: str


@frozen
class TestStarted:
    """A test has begun; it can no longer be revoked."""

    __test__ = False

    key: str


@frozen(kw_only=True)
class TestFinished:
    """A test has ended by itself. Durations in seconds."""

    __test__ = False

    key: str
    outcome: Outcome
    duration: float
    message: str = ""
    details: str = ""
    output: tuple[Section, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class TeardownFailed:
    """Something shared that a test of this session was the last to use could not be torn down, or it left an error
    behind: that finished test becomes an error."""

    key: str
    message: str
    details: str = ""


@frozen
class Heartbeat:
    """Nothing new, but the session is there."""


@frozen
class Bye:
    """The session ended by itself, after everything it had to do. `reason` is empty if it was asked to close."""

    reason: str = ""


SessionEvent = Hello | Collected | ModuleStarted | TestStarted | TestFinished | TeardownFailed | Heartbeat | Bye


class TestSession(ABC):
    """Runs tests in one sandbox, one after the other, and can be handed more while it runs.

    A session that keeps a warm process and one that starts a process per `run` look the same from outside.
    """

    __test__ = False

    events: AsyncIterator[SessionEvent]
    """Ends when the session can say no more. Only a `Bye` before the end means that it was complete: a stream that just
    ends is a crash or a death. Every test that was run and not revoked is finished before the `Bye`, or is given back
    by it: what has no `TestFinished` then has not run."""

    @abstractmethod
    async def run(self, tests: Sequence[Test]) -> None:
        """Queue tests behind those already queued. Returns when they are handed over.

        Raises:
            ConnectionLost, SandboxDead: they were not, or nobody knows; the events tell which have started.
        """

    @abstractmethod
    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back tests that have not started; returns those that now never will in this session.

        Raises:
            ConnectionLost, SandboxDead: as for `run`.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ask the session to end after what is running; the rest of the queue is dropped. `Bye` follows. Idempotent."""

    @abstractmethod
    async def kill(self) -> None:
        """End it at once, with every process it started. Idempotent."""

    def abandon(self) -> None:
        """The sandbox is gone: let go of what is held here for it, and call nothing there. Does nothing by default."""
        return

    @abstractmethod
    async def wait(self) -> Exit:
        """How its process ended. To be called after `events` has ended.

        Raises:
            SandboxDead, ConnectionLost: the end could not be observed, and so says nothing of the tests.
            FrameworkUnusable: no session can work in this sandbox.
        """
