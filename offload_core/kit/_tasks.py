"""What was begun and has to come to its end, whether or not somebody still waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ._race import END_SECS, forget

T = TypeVar("T")


class BackgroundTasks:
    """Tasks that outlive the call that began them. They belong to whoever calls `aclose`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """A task that `aclose` waits for. Nobody has to look at its outcome."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(forget)
        return task

    async def finish(self, work: Coroutine[Any, Any, object]) -> None:
        """Bring something to its end, also if the caller is cancelled meanwhile."""
        await asyncio.wait({self.start(work)})

    async def make(
        self, making: Coroutine[Any, Any, T], undo: Callable[[T], Awaitable[object]], *, wait: bool = False
    ) -> T:
        """Make something that cannot be taken back halfway: a container that an engine was asked for, a process.

        Cancelled, the making goes on until there is something to undo. So whoever was cancelled leaves nothing behind
        that only this call knew of.

        Args:
            undo: ends what was made. Its errors are dropped.
            wait: whether a call that is cancelled ends only when that has been done. If not, it is done beside.

        It raises whatever the making raises.
        """
        task = self.start(making)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            undoing = self.start(_undone(task, undo))
            if wait:
                await asyncio.wait({undoing})
            raise

    async def aclose(self, within: float | None = None) -> bool:
        """Wait for all of them; after so many seconds what still runs is cancelled. Returns whether nothing was."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        if not self._tasks:
            return True
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=END_SECS)
        return False


async def _undone(task: asyncio.Task[T], undo: Callable[[T], Awaitable[object]]) -> None:
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        await undo(task.result())
