"""What execution asks of a scheduling policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from ..abc import Test


@frozen(kw_only=True)
class Bundle:
    """Tests that one worker runs one after the other.

    Attributes:
        alone: they get a session to themselves: suspects, and tests that are scheduled individually.
        suspect: they are suspected of having killed their session or sandbox.
        fresh: they must run in a sandbox in which nothing has run yet.
    """

    tests: tuple[Test, ...]
    alone: bool = False
    suspect: bool = False
    fresh: bool = False


class Scheduler(Protocol):
    """Holds the tests that wait; hands out bundles. A worker is known by the name of its sandbox."""

    @property
    def waiting(self) -> int:
        """How many tests wait to be taken."""
        ...

    @property
    def fresh_needed(self) -> int:
        """How many bundles wait for a sandbox in which nothing has run yet."""
        ...

    def add(self, tests: Iterable[Test]) -> None:
        """New tests, or tests taken back before they started."""
        ...

    def retry(self, test: Test, avoid: str) -> None:
        """A test that failed and has retries left; not for the worker `avoid`, while there is another."""
        ...

    def suspect(self, tests: Sequence[Test], *, fresh: bool) -> None:
        """Tests that run alone next, together in one session."""
        ...

    def take(self, worker: str, *, workers: int, fresh: bool, busy: bool) -> Bundle | None:
        """The next bundle for a worker, or None if nothing waits that it may run.

        Args:
            workers: how many there are, this one included: bundles shrink as the queue empties.
            fresh: whether it may run what must run in a fresh sandbox.
            busy: it has not finished what it has. It gets nothing while something waits that must run alone, so that
                it is free for that soon.
        """
        ...

    def estimate(self, test: Test) -> float:
        """How long the test will take, in seconds."""
        ...

    def expected(self, test: Test) -> float:
        """How long the test will take, in seconds, by what this run has shown so far."""
        ...

    def observe(self, secs: float) -> None:
        """A test of this run took so long, in seconds."""
        ...

    def nearly_done(self, tests: Iterable[Test]) -> bool:
        """Whether a worker that has only these left should get its next bundle ahead."""
        ...

    def clear(self) -> list[Test]:
        """Drop all that waits, and return it."""
        ...
