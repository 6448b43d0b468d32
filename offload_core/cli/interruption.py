"""Signals: the first asks the run to stop, the second cuts everything but terminating sandboxes, the third kills."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .saying import Terminated

if TYPE_CHECKING:
    from ..execution import StopRequest

T = TypeVar("T")

_SIGNALS = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM}
"""What is listened to, and what it counts as: a terminal that is closed is a request to end."""
if hasattr(signal, "SIGHUP"):
    _SIGNALS[signal.SIGHUP] = signal.SIGTERM


def run_until_terminated(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, which ends cleanly on Ctrl-C, made to do so on SIGTERM and SIGHUP as well.

    Raises:
        Terminated: it was ended so; what it had begun has been cleaned up.
    """
    received: list[signal.Signals] = []

    async def listening() -> T:
        task = asyncio.current_task()
        assert task is not None

        def end(meaning: signal.Signals) -> None:
            received.append(meaning)
            task.cancel()

        for number, meaning in _SIGNALS.items():
            if meaning is signal.SIGTERM:
                asyncio.get_running_loop().add_signal_handler(number, end, meaning)
        return await work

    try:
        return asyncio.run(listening())
    except asyncio.CancelledError:
        if not received:
            raise
        raise Terminated(received[0]) from None


async def interruptible(run: Coroutine[Any, Any, None], stop: StopRequest) -> None:
    """Run to the end, or until a second signal has cancelled it; the first is passed on to `stop`."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(run, name="execute")
    received = 0

    def on_signal(number: signal.Signals) -> None:
        nonlocal received
        received += 1
        if received == 1:
            stop.ask(number)
        elif received == 2:
            task.cancel()
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number, meaning in _SIGNALS.items():
        loop.add_signal_handler(number, on_signal, meaning)
    try:
        await task
    except asyncio.CancelledError:
        if received < 2:
            raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
