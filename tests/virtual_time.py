"""Time that passes only when nobody has anything to do: simulated minutes take no time, and every run is repeatable.

For code that does nothing but asyncio in one thread. Anything that needs the real world (processes, threads, sockets)
does not belong under it.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Nothing is scheduled any more, and the work is not done."""


class _Selector(selectors.DefaultSelector):
    """Instead of waiting, moves the loop's clock."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout is None:
            waiting = [task.get_name() for task in asyncio.all_tasks(self.loop)]
            raise Deadlock(f"nothing will ever happen again; waiting: {waiting}")
        if not events and timeout is not None and timeout > 0:
            self.loop.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is moved by its own timers. It begins at 1000 s."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now


def run_virtually(main: Coroutine[Any, Any, T], limit: float = 100_000.0) -> T:
    """As `asyncio.run`, in virtual time, of which it may take `limit` seconds.

    It must leave nothing: a task that is still there at its end, or an exception that nobody saw, is a failure.
    """
    complaints: list[dict[str, Any]] = []

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        async with asyncio.timeout(limit):
            result = await main
        await asyncio.sleep(0)  # callbacks of what has just ended
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks were left behind: {left}"
        gc.collect()  # an exception that nobody retrieved complains when its future goes
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(guarded())
    assert not complaints, complaints
    return result
