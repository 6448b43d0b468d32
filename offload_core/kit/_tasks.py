"""Tasks that are raced against a death, that are cancelled, and that have to come to their end whoever waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

END_SECS = 1.0
"""How long what was cancelled may take to end before it is left behind."""

_CANCELLATIONS = 5


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


async def race(
    call: Awaitable[T], gone: asyncio.Future[Any], *, within: float | None = None
) -> asyncio.Future[T] | None:
    """Let a call run until it ends, `gone` is done, or the time is over. What has not ended then is cancelled.

    Args:
        gone: done when the sandbox is dead or lost. Of what is gone already, nothing is called.
        within: seconds; None for no bound.

    Returns:
        The call with its result or its exception; None if it was cut, because it is gone if that is done, else because
        the time was over.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(forget)  # it can end in the moment in which the caller is cancelled
    waited: set[asyncio.Future[Any]] = {task, gone}
    try:
        if gone.done():
            return None
        await asyncio.wait(waited, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        return task if task.done() else None
    finally:
        if not task.done():
            await cancelled(task)


async def cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel it, and wait at most `END_SECS`. What ignores that is left behind, whatever comes of it.

    More than once: where something waits with a time limit, Python 3.11 can swallow a cancellation.
    """
    task.add_done_callback(forget)
    for _ in range(_CANCELLATIONS):
        task.cancel()
        await asyncio.wait({task}, timeout=END_SECS / _CANCELLATIONS)
        if task.done():
            return


def settle(future: asyncio.Future[T], value: T) -> None:
    """Give a future its result, unless it has one already or is cancelled."""
    if not future.done():
        future.set_result(value)


def forget(task: asyncio.Future[Any]) -> None:
    """Look at its outcome, so that nobody is warned of an error that was never retrieved."""
    if not task.cancelled():
        task.exception()
