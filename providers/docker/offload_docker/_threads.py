"""Blocking calls in threads that do not hold up the end of the program."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a daemon thread of its own. Cancelled, the thread goes on and its result is dropped.

    An executor's threads are joined when Python exits: a call that an engine never answers would keep it from that.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # whatever it is, it belongs to who waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="offload-docker call", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any) -> bool:
    """Call back on the loop, from a thread; False if the loop is closed, so that nobody waits any more."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        return False
    return True
