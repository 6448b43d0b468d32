"""Signals: the first asks the run to stop, the second cuts everything but terminating sandboxes, the third kills."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from types import TracebackType
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


class Interruption:
    """Listens to signals while the block runs, on the event loop that runs it."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._task: asyncio.Task[None] | None = None
        self._received = 0

    def __enter__(self) -> Interruption:
        loop = asyncio.get_running_loop()
        for number, meaning in _SIGNALS.items():
            loop.add_signal_handler(number, self._on_signal, meaning)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    async def guard(self, run: Coroutine[Any, Any, None]) -> None:
        """Run to the end, or until a second signal has cancelled it."""
        self._task = asyncio.create_task(run, name="execute")
        try:
            await self._task
        except asyncio.CancelledError:
            if self._received < 2:
                raise

    def _on_signal(self, number: signal.Signals) -> None:
        self._received += 1
        if self._received == 1:
            self._stop.ask(number)
        elif self._received == 2 and self._task is not None:
            self._task.cancel()
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
