"""A command in a local sandbox. The kernel's pipes are the only buffers."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator

from offload_core.abc import Command, Exit, Process, Sandbox
from offload_core.errors import ConnectionLost

from ._link import Exec, Link

_CHUNK = 1 << 16


class Output(AsyncIterator[bytes]):
    """The reading end of a pipe as a stream of chunks. Nothing is read that nobody asks for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)

    async def __anext__(self) -> bytes:
        while self._closing.alive:
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                await _readable(self._fd)
                continue
            if data:
                return data
            self._closing()
        raise StopAsyncIteration


class Input:
    """The writing end of a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it. BrokenPipeError: nobody reads any more, or it was closed."""
        async with self._turn:
            rest = memoryview(data)
            while rest:
                if not self._closing.alive:
                    raise BrokenPipeError
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await _writable(self._fd)

    async def close(self) -> None:
        """Close it, after what is being written."""
        async with self._turn:
            self._closing()


class LocalProcess(Process):
    """A command that a supervisor started."""

    def __init__(
        self, sandbox: Sandbox, command: Command, link: Link, running: Exec, fds: tuple[int, int, int]
    ) -> None:
        super().__init__(sandbox, command)
        self._link = link
        self._running = running
        stdin, stdout, stderr = fds
        self._stdin = Input(stdin)
        self.stdout = Output(stdout)
        self.stderr = Output(stderr)

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


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
