"""The workers there are: which of them wait to be woken, and how one takes work from another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from ..abc import Test
from ..errors import ProviderError
from ..scheduling import half_of, most_held


class WorkerView(Protocol):
    """What the dispatcher sees of a worker.

    Attributes:
        name: that of its sandbox.
        session_name: that of the session it drives now.
    """

    name: str
    session_name: str

    @property
    def fresh(self) -> bool:
        """Whether nothing has run in its sandbox yet."""
        ...

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


class Fleet:
    """Workers by name.

    Args:
        estimate: seconds per test: a thief takes half by time.
        orphaned: gets tests that were given up and that their thief cannot take any more.
        steal_secs: how long a thief waits for a session's answer. What comes later is an orphan.
    """

    def __init__(
        self, estimate: Callable[[Test], float], orphaned: Callable[[Sequence[Test]], None], steal_secs: float
    ) -> None:
        self._estimate = estimate
        self._orphaned = orphaned
        self._steal_secs = steal_secs
        self._workers: dict[str, WorkerView] = {}
        self._hungry: dict[str, WorkerView] = {}
        self._new: set[str] = set()
        self._in_transit: set[str] = set()
        self._declined: set[str] = set()

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[WorkerView]:
        return iter(self._workers.values())

    @property
    def waiting(self) -> int:
        """How many wait to be woken."""
        return len(self._hungry)

    @property
    def eager(self) -> int:
        """How many will take what comes next: those that wait, and those that have not looked for work yet."""
        return len(self._hungry) + len(self._new)

    def join(self, worker: WorkerView) -> None:
        """A worker is ready."""
        self._workers[worker.name] = worker
        self._new.add(worker.name)

    def leave(self, worker: WorkerView) -> None:
        """A worker is gone."""
        self._workers.pop(worker.name, None)
        self._hungry.pop(worker.name, None)
        self._new.discard(worker.name)
        self._declined.discard(worker.name)

    def hungry(self, worker: WorkerView) -> None:
        """A worker found nothing to do, and waits."""
        self._hungry[worker.name] = worker

    def looks(self, worker: WorkerView) -> None:
        """A worker looks for work, and does not wait any more."""
        self._hungry.pop(worker.name, None)
        self._new.discard(worker.name)

    @property
    def may_give(self) -> bool:
        """Whether a worker holds tests that has declined to give any up, and may think otherwise by now."""
        return any(self._workers[name].held for name in self._declined)

    def wake(self, count: int) -> None:
        """Wake as many as there is work for; the others wait on."""
        for name in list(self._hungry)[: max(count, 0)]:
            self._hungry.pop(name).wake()

    def wake_all(self) -> None:
        """Wake everybody, also those that are busy."""
        self._hungry.clear()
        for worker in tuple(self._workers.values()):
            worker.wake()

    async def steal(self, thief: WorkerView) -> tuple[Test, ...]:
        """Take half of what the worker with the most unstarted work holds, from its end; nothing if there is none."""
        others = {name: worker.held for name, worker in self._workers.items() if worker is not thief}
        willing = {name: held for name, held in others.items() if name not in self._declined}
        name = most_held(willing.items(), self._in_transit) or most_held(others.items(), self._in_transit)
        if name is None:
            return ()
        victim = self._workers[name]
        self._declined.discard(name)
        free = (test for key, test in victim.held.items() if key not in self._in_transit)
        wanted = half_of(free, self._estimate)
        keys = {test.key for test in wanted}
        self._in_transit |= keys
        revoking = asyncio.ensure_future(victim.revoke(wanted))
        revoking.add_done_callback(lambda done: self._in_transit.difference_update(keys))
        try:
            await asyncio.wait({revoking}, timeout=self._steal_secs)
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
        if not stolen and name in self._workers:
            self._declined.add(name)
        self.wake(len(stolen) - 1)
        return stolen

    def _given_up(self, revoking: asyncio.Future[Sequence[Test]]) -> None:
        if not revoking.cancelled() and revoking.exception() is None:
            self._orphaned(revoking.result())
