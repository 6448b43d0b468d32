"""What a sandbox needs no more than a shell for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from typing_extensions import override

from offload_core.abc import Command, Context, Download, Exit, Liveness, Process, Sandbox, SandboxRef, Upload
from offload_core.kit import ShellProcess, launched
from tests.support.virtual_time import run_virtually


class Started(ShellProcess):
    """A command whose end is told when it comes; those that kill end at once, and well."""

    def __init__(self, sandbox: Sandbox, command: Command) -> None:
        super().__init__(sandbox, command)
        self.stdout = self.stderr = nothing()
        self.ended: asyncio.Future[Exit] = asyncio.Future()
        if command.mark is None:
            self.ended.set_result(Exit(0))

    @override
    async def write(self, data: bytes) -> None:
        raise NotImplementedError

    @override
    async def close_stdin(self) -> None:
        return

    @override
    async def wait(self) -> Exit:
        return await asyncio.shield(self.ended)


class Slow(Sandbox):
    """A sandbox that says that a command was started before it can be found there.

    Attributes:
        finds: the first command that kills and finds it.
        kills: how many there were.
        terminated: whether it was.
    """

    def __init__(self, finds: int) -> None:
        super().__init__(SandboxRef(id="slow"), Context())
        self.finds = finds
        self.kills = 0
        self.terminated = False

    @override
    async def exec(self, command: Command) -> Process:
        if command.mark is not None:
            self.process = Started(self, command)
            return self.process
        self.kills += 1
        if self.kills == self.finds:
            self.process.ended.set_result(Exit(signal=9))
        return Started(self, command)

    @override
    async def upload(self, files: Sequence[Upload]) -> None:
        raise NotImplementedError

    @override
    async def download(self, files: Sequence[Download]) -> None:
        raise NotImplementedError

    @override
    async def probe(self) -> Liveness:
        return Liveness.alive()

    @override
    async def terminate(self) -> None:
        self.terminated = True


async def nothing() -> AsyncIterator[bytes]:
    """An empty stream."""
    return
    yield b""


@pytest.mark.parametrize(("finds", "kills"), [(1, 1), (3, 3), (100, 5)])
def test_a_command_that_is_not_there_yet_is_killed_all_the_same(finds: int, kills: int) -> None:
    """What kills looks again until the command has ended; where that has no end, the sandbox goes."""

    async def check() -> None:
        sandbox = Slow(finds)
        process = await sandbox.exec(launched(Command(argv=("sleep", "600"))))
        await process.kill()
        assert sandbox.kills == kills
        assert sandbox.terminated == (finds > kills)

    run_virtually(check())
