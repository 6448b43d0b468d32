"""An event loop whose clock jumps: a wait for a timer takes no time at all, and the loop says that it took all of it.

Simulations of hours end in seconds, and come out the same however busy the machine is. It is for code that waits only
for timers and for itself: threads, processes and sockets live in real time, and would be overtaken.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module's docstring.

    Args:
        cpu_cost: simulated seconds that each second of this process's CPU time takes. With 0 the code that runs is
            infinitely fast, and runs are exactly repeatable.
    """

    def __init__(self, cpu_cost: float = 0.0) -> None:
        self._jumped = 0.0
        self._cpu_cost = cpu_cost
        self._began = time.process_time()
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        spent = self._cpu_cost * (time.process_time() - self._began) if self._cpu_cost else 0.0
        return self._jumped + spent

    def jump(self, seconds: float) -> None:
        """Let this much time pass."""
        self._jumped += seconds


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting for the next timer, moves the clock there."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; if nothing is, it is later now.

        Raises:
            RuntimeError: no timer is set, so that nothing can ever happen.
        """
        ready = super().select(0)
        if not ready:
            if timeout is None:
                waiting = [task.get_name() for task in asyncio.all_tasks(self._loop)]
                raise RuntimeError(f"everything waits for something that nothing will do: {waiting}")
            self._loop.jump(max(timeout, 0.0))
        return ready


def run_virtually(main: Coroutine[Any, Any, T], cpu_cost: float = 0.0, limit: float = 1e6) -> T:
    """As `asyncio.run`, on a `VirtualTimeLoop`; it may take `limit` simulated seconds.

    It must leave nothing: a task that is still there at its end, or an exception that nobody saw, is a failure.
    """
    complaints: list[dict[str, Any]] = []

    async def guarded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with asyncio.timeout(limit):
            result = await main
        await asyncio.sleep(0)  # callbacks of what has just ended
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks were left behind: {left}"
        return result

    gc.freeze()  # what is there already need not be looked at again
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(cpu_cost)) as runner:
            result = runner.run(guarded())
            gc.collect()  # an exception that nobody retrieved complains when its future goes
    finally:
        gc.unfreeze()
    assert not complaints, complaints
    return result
