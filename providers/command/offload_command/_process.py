"""A command in a sandbox, behind the `exec_command` that runs on this machine."""

from __future__ import annotations

import asyncio
import contextlib

from typing_extensions import override

from offload_core.abc import Command, Exit, Sandbox
from offload_core.errors import ConnectionLost, ProviderError
from offload_core.kit import ShellProcess, check_alive, kill_marked, naming

from ._client import Client
from ._input import Input
from ._state import SandboxState

_PROBE_SECS = 10.0


class CommandProcess(ShellProcess):
    """A command that runs.

    Args:
        client: the `exec_command` that runs it.
        stdin: where its standard input goes, if not to the client.
    """

    def __init__(
        self, sandbox: Sandbox, command: Command, state: SandboxState, client: Client, stdin: Input | None = None
    ) -> None:
        super().__init__(sandbox, command)
        self.client = client
        self.stdout, self.stderr = client.process.stdout, client.stderr
        self._state = state
        self._stdin: Input = stdin or client.process

    @override
    async def write(self, data: bytes) -> None:
        with naming("write", self.sandbox):
            try:
                await self._stdin.write(data)
            except ConnectionLost:
                check_alive(self._state.dead)
                raise

    @override
    async def close_stdin(self) -> None:
        if not self.client.ended.done():
            await self._stdin.close_stdin()

    @override
    async def wait(self) -> Exit:
        """The last words of the command count, so they are waited for."""
        ended = await self.client.process.wait()
        await self.client.stderr.settle()
        with naming("wait", self.sandbox):
            check_alive(self._state.dead)
        return ended

    @override
    async def kill(self) -> None:
        """First what runs on this machine, so that it starts nothing more in the sandbox."""
        await self.client.kill()
        if self.command.mark is None or await kill_marked(self.sandbox, self.command):
            return
        with contextlib.suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(_PROBE_SECS):
                await self.sandbox.probe()  # of a death it may know the reason
        if not self._state.dead.done():  # what was to end may go on
            await self.sandbox.terminate()
