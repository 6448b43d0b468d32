"""What is known of a session while it is driven: what it was given, how far it is, what it said, why it is to end."""

from __future__ import annotations

from attrs import define, field

from ..abc import Bye, Hello, Test
from ..scheduling import Bundle
from .attempts import RunningAttempt

MAX_BUNDLES = 2
"""What a session holds at most: the bundle it works on, and one ahead."""


@define(eq=False)
class Kill:
    """A kill on its way.

    Attributes:
        why: for people.
        timed_out: because nothing moved for too long.
        unwanted: because what runs is not wanted any more.
        doomed: what was running when it began.
        importing: what was being imported then.
    """

    why: str
    timed_out: bool
    unwanted: bool
    doomed: tuple[RunningAttempt, ...]
    importing: str | None

    @property
    def meant(self) -> bool:
        """Whether the session's end needs no other explanation."""
        return self.timed_out or self.unwanted


@define(eq=False)
class SessionWork:
    """One session's tests, and its state.

    Attributes:
        first: a bundle to begin with, until it is sent.
        left_over: a bundle that needs a new session.
        alone: the bundle that has this session to itself.
        owed: what was sent and is not finished, in order.
        held: the part of it that has not started.
        running: attempts by key: one, unless its framework runs several at once, or does not tell which of a batch it
            is at.
        ended: the latest attempt at each test that has ended.
        importing: the module that is being imported, until one of its tests begins.
        hello: said when its framework was up.
        bye: said at its end.
        closing: whether it was asked to end.
        kill: set when it is to be killed.
        productive: whether a test began.
        finished: how many tests ended by themselves.
        failed: whether one of them ended badly.
    """

    first: Bundle | None = None
    left_over: Bundle | None = None
    alone: Bundle | None = None
    owed: dict[str, Test] = field(factory=dict)
    held: dict[str, Test] = field(factory=dict)
    running: dict[str, RunningAttempt] = field(factory=dict)
    ended: dict[str, RunningAttempt] = field(factory=dict)
    importing: str | None = None
    hello: Hello | None = None
    bye: Bye | None = None
    closing: bool = False
    kill: Kill | None = None
    productive: bool = False
    finished: int = 0
    failed: bool = False
    _bundles: list[set[str]] = field(factory=list)
    _left: set[str] = field(factory=set)

    @property
    def bundles(self) -> int:
        """How many bundles are not finished."""
        return sum(map(bool, self._bundles))

    @property
    def has_room(self) -> bool:
        """Whether it can be given another bundle."""
        return self.bundles < MAX_BUNDLES

    def give(self, bundle: Bundle) -> None:
        """A bundle is being sent."""
        if bundle.alone:
            self.alone = bundle
        new = {test.key: test for test in bundle.tests}
        self.owed |= new
        self.held |= new
        self._bundles = [*filter(None, self._bundles), set(new)]

    def begin(self, attempt: RunningAttempt) -> None:
        """A test that was held has started."""
        self.running[attempt.test.key] = attempt
        self.productive = True

    def finish(self, attempt: RunningAttempt, *, bad: bool) -> None:
        """A test has ended by itself."""
        self.productive = True
        self.finished += 1
        self.failed = self.failed or bad
        self.ended[attempt.test.key] = attempt
        self.settle(attempt.test.key)

    def settle(self, key: str) -> None:
        """A test is this session's no more."""
        self.owed.pop(key, None)
        for keys in self._bundles:
            keys.discard(key)

    def leave(self, key: str) -> RunningAttempt:
        """Nobody cares any more for what runs; what is told of it later means nothing."""
        self._left.add(key)
        self.settle(key)
        return self.running.pop(key)

    def is_left(self, key: str) -> bool:
        """Whether nobody cares for this test."""
        return key in self._left
