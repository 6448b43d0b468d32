"""A command in a sandbox, behind the `exec_command` that runs on this machine."""

from __future__ import annotations

import asyncio
from typing import Protocol

from offload_core.abc import Command, Exit, Process, Sandbox
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead
from offload_core.kit import kill_command

from ._client import Client
from ._state import State

KILL_SECS = 10.0
"""How long killing a command in its sandbox may take before the sandbox is ended instead."""


class Input(Protocol):
    """Where a command's standard input goes."""

    async def write(self, data: bytes) -> None:
        """Send all of it. BrokenPipeError: the command reads no more."""
        ...

    async def close(self) -> None:
        """Send no more. Idempotent."""
        ...


class NoInput:
    """Standard input that is empty."""

    async def write(self, data: bytes) -> None:
        """BrokenPipeError: nobody reads it."""
        raise BrokenPipeError

    async def close(self) -> None:
        """Nothing to do."""


class CommandProcess(Process):
    """As the contract says."""

    def __init__(self, sandbox: Sandbox, command: Command, state: State, client: Client, stdin: Input) -> None:
        super().__init__(sandbox, command)
        self._state = state
        self._client = client
        self._stdin = stdin
        self.stdout = client.stdout
        self.stderr = client.stderr

    async def write(self, data: bytes) -> None:
        """As the contract says."""
        try:
            await self._stdin.write(data)
        except BrokenPipeError as error:
            self._check_alive("write")
            raise ConnectionLost(
                "the process has closed its standard input", operation="write", sandbox=self.sandbox.ref.id
            ) from error

    async def close_stdin(self) -> None:
        """As the contract says."""
        if not self._client.ended.done():
            await self._stdin.close()

    async def wait(self) -> Exit:
        """As the contract says. The last words of the command count, so they are waited for."""
        ended = await self._client.wait()
        await self._client.stderr.settle()
        self._check_alive("wait")
        return ended

    async def kill(self) -> None:
        """As the contract says: first what runs on this machine, so that it starts nothing more in the sandbox."""
        await self.end_here()
        mark = self.command.mark
        if mark is None or await self._killed(mark) or self._state.dead.done():
            return
        try:
            async with asyncio.timeout(KILL_SECS):
                gone = (await self.sandbox.probe()).is_dead
        except (ProviderError, TimeoutError):
            gone = False
        if not gone:  # what was to end may go on
            await self.sandbox.terminate()

    async def _killed(self, mark: str) -> bool:
        """Whether nothing in the sandbox carries the mark any more."""
        try:
            async with asyncio.timeout(KILL_SECS):
                killer = await self.sandbox.exec(kill_command(mark))
                try:
                    return (await killer.communicate()).exit.ok
                except BaseException:
                    await killer.kill()
                    raise
        except (ProviderError, TimeoutError):
            return False

    async def end_here(self) -> None:
        """End what runs on this machine."""
        await self._client.kill()

    def _check_alive(self, operation: str) -> None:
        if self._state.dead.done():
            raise SandboxDead(self._state.dead.result().reason, operation=operation, sandbox=self.sandbox.ref.id)
