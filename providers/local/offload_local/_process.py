"""A command in a local sandbox. The kernel's pipes are the only buffers."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from offload_core.abc import Command, Exit, Sandbox
from offload_core.errors import ConnectionLost
from offload_core.kit import PipedProcess, Pipes, check_alive, naming

from ._link import Exec, Link


class LocalProcess(PipedProcess):
    """A command that a supervisor started."""

    def __init__(self, sandbox: Sandbox, command: Command, link: Link, running: Exec, pipes: Pipes) -> None:
        super().__init__(command, pipes)
        self._sandbox = sandbox
        self._link = link
        self._running = running

    @override
    async def write(self, data: bytes) -> None:
        with naming("write", self._sandbox):
            try:
                await super().write(data)
            except ConnectionLost:
                check_alive(self._link.gone)
                raise

    @override
    async def wait(self) -> Exit:
        with naming("wait", self._sandbox):
            ended = await asyncio.shield(self._running.exited)
            if ended is None:
                raise self._link.dead()
            return ended

    @override
    async def kill(self) -> None:
        """The supervisor knows every descendant."""
        if await self._link.kill(self._running):
            await self._sandbox.terminate()
