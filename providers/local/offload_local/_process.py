"""A command in a local sandbox. The kernel's pipes are the only buffers."""

from __future__ import annotations

import asyncio

from offload_core.abc import Command, Exit, Process, Sandbox
from offload_core.errors import ConnectionLost
from offload_core.kit import PipeReader, PipeWriter

from ._link import Exec, Link


class LocalProcess(Process):
    """A command that a supervisor started."""

    def __init__(
        self, sandbox: Sandbox, command: Command, link: Link, running: Exec, fds: tuple[int, int, int]
    ) -> None:
        super().__init__(sandbox, command)
        self._link = link
        self._running = running
        stdin, stdout, stderr = fds
        self._stdin = PipeWriter(stdin)
        self.stdout = PipeReader(stdout)
        self.stderr = PipeReader(stderr)

    async def write(self, data: bytes) -> None:
        """As the contract says."""
        try:
            await self._stdin.write(data)
        except BrokenPipeError as error:
            if self._link.gone.done():
                raise self._link.dead("write") from error
            raise ConnectionLost(
                "the process has closed its standard input", operation="write", sandbox=self.sandbox.ref.id
            ) from error

    async def close_stdin(self) -> None:
        """As the contract says."""
        await self._stdin.close()

    async def wait(self) -> Exit:
        """As the contract says."""
        ended = await asyncio.shield(self._running.exited)
        if ended is None:
            raise self._link.dead("wait")
        return ended

    async def kill(self) -> None:
        """As the contract says; the supervisor knows every descendant."""
        if await self._link.kill(self._running):
            await self.sandbox.terminate()
