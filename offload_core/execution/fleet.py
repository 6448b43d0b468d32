"""The workers there are: which of them wait to be woken, and how one takes work from another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from ..abc import Test
from ..errors import ProviderError
from ..scheduling import half_of, most_held

STEAL_SECS = 5.0
"""How long a thief waits for a session's answer. What comes later is queued."""


class Runner(Protocol):
    """What the dispatcher sees of a worker."""

    name: str
    session_name: str
    fresh: bool

    @property
    def held(self) -> Mapping[str, Test]:
        """What its session was sent and has not started, in order; nothing of what has to run alone."""
        ...

    def wake(self) -> None:
        """There may be something to do."""
        ...

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back held tests; those that are returned are not held any more."""
        ...

    def abort(self, test: Test) -> None:
        """The test that runs there is not wanted any more."""
        ...


@frozen(eq=False)
class Run:
    """A test that is running, or was when its session ended."""

    test: Test
    number: int
    runner: Runner
    session: str
    since: float
    hedge: bool = False


class Fleet:
    """Workers by name.

    Args:
        estimate: seconds per test: a thief takes half by time.
        orphaned: gets tests that were given up and that their thief cannot take any more.
    """

    def __init__(self, estimate: Callable[[Test], float], orphaned: Callable[[Sequence[Test]], None]) -> None:
        self._estimate = estimate
        self._orphaned = orphaned
        self._runners: dict[str, Runner] = {}
        self._hungry: dict[str, Runner] = {}
        self._new: set[str] = set()
        self._in_transit: set[str] = set()
        self._declined: set[str] = set()

    def __len__(self) -> int:
        return len(self._runners)

    def __iter__(self) -> Iterator[Runner]:
        return iter(self._runners.values())

    @property
    def waiting(self) -> int:
        """How many wait to be woken."""
        return len(self._hungry)

    @property
    def eager(self) -> int:
        """How many will take what comes next: those that wait, and those that have not looked for work yet."""
        return len(self._hungry) + len(self._new)

    def join(self, runner: Runner) -> None:
        """A worker is ready."""
        self._runners[runner.name] = runner
        self._new.add(runner.name)

    def leave(self, runner: Runner) -> None:
        """A worker is gone."""
        self._runners.pop(runner.name, None)
        self._hungry.pop(runner.name, None)
        self._new.discard(runner.name)
        self._declined.discard(runner.name)

    def hungry(self, runner: Runner) -> None:
        """A worker found nothing to do, and waits."""
        self._hungry[runner.name] = runner

    def looks(self, runner: Runner) -> None:
        """A worker looks for work, and does not wait any more."""
        self._hungry.pop(runner.name, None)
        self._new.discard(runner.name)

    @property
    def may_give(self) -> bool:
        """Whether a worker holds tests that has declined to give any up, and may think otherwise by now."""
        return any(self._runners[name].held for name in self._declined)

    def wake(self, count: int) -> None:
        """Wake as many as there is work for; the others wait on."""
        for name in list(self._hungry)[: max(count, 0)]:
            self._hungry.pop(name).wake()

    def wake_all(self) -> None:
        """Wake everybody, also those that are busy."""
        self._hungry.clear()
        for runner in tuple(self._runners.values()):
            runner.wake()

    async def steal(self, thief: Runner) -> tuple[Test, ...]:
        """Take half of what the worker with the most unstarted work holds, from its end; nothing if there is none."""
        others = {name: runner.held for name, runner in self._runners.items() if runner is not thief}
        willing = {name: held for name, held in others.items() if name not in self._declined}
        name = most_held(willing.items(), self._in_transit) or most_held(others.items(), self._in_transit)
        if name is None:
            return ()
        victim = self._runners[name]
        self._declined.discard(name)
        free = (test for key, test in victim.held.items() if key not in self._in_transit)
        wanted = half_of(free, self._estimate)
        keys = {test.key for test in wanted}
        self._in_transit |= keys
        revoking = asyncio.ensure_future(victim.revoke(wanted))
        revoking.add_done_callback(lambda done: self._in_transit.difference_update(keys))
        try:
            await asyncio.wait({revoking}, timeout=STEAL_SECS)
        except asyncio.CancelledError:
            revoking.add_done_callback(self._given_up)  # the thief is gone; what the victim gave up is nobody's
            raise
        if not revoking.done():
            revoking.add_done_callback(self._given_up)  # the victim is too busy to answer; there may be other work
            return ()
        if isinstance(error := revoking.exception(), ProviderError):
            return ()  # the victim's own worker deals with it
        if error is not None:
            raise error
        stolen = tuple(revoking.result())
        if not stolen and name in self._runners:
            self._declined.add(name)
        self.wake(len(stolen) - 1)
        return stolen

    def _given_up(self, revoking: asyncio.Future[Sequence[Test]]) -> None:
        if not revoking.cancelled() and revoking.exception() is None:
            self._orphaned(revoking.result())
