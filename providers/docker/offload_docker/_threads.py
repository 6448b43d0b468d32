"""Blocking calls in threads that do not hold up the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a daemon thread of its own. Cancelled, the thread goes on and its result is dropped.

    An executor's threads are joined when Python exits: a call that an engine never answers would keep it from that.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (function(), None)
        except BaseException as error:  # whatever it is, it belongs to who waits
            outcome = (None, error)
        tell(loop, settle, *outcome)

    threading.Thread(target=run, name="offload-docker call", daemon=True).start()
    return await done


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any) -> bool:
    """Call back on the loop, from a thread; False if the loop is closed, so that nobody waits any more."""
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        return False
    return True
