"""A call on a sandbox, raced against the sandbox's death."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

END_SECS = 1.0
"""How long what was cancelled may take to end before it is left behind."""

_CANCELLATIONS = 5


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
