"""A process's pipes on the event loop, and the moment of its end."""

from __future__ import annotations

import asyncio
import contextlib
import os

_CHUNK = 1 << 20


class Output:
    """All that a process has written to one stream so far, read by offset; nothing is ever thrown away."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._changed = asyncio.Event()
        self._fd = -1

    def attach(self, fd: int) -> None:
        """Collect from the read end of a pipe, which this closes at its end."""
        os.set_blocking(fd, False)
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._readable)

    async def read(self, offset: int) -> bytes:
        """What follows `offset`, at most 1 MiB; waits for the first byte; empty at the end."""
        while len(self._data) <= offset and not self._ended:
            await self._changed.wait()
        return bytes(self._data[offset : offset + _CHUNK])

    def end(self) -> None:
        """No more is collected."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._ended = True
        self._changed.set()

    def _readable(self) -> None:
        chunk = os.read(self._fd, _CHUNK)
        if not chunk:
            self.end()
            return
        self._data += chunk
        self._changed.set()
        self._changed = asyncio.Event()


class Input:
    """The write end of a process's standard input; a repeated write of the same bytes is taken once."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._lock = asyncio.Lock()
        self.written = 0

    @property
    def closed(self) -> bool:
        """Whether its end was sent, or its process gone."""
        return self._fd < 0

    async def write(self, offset: int, data: bytes, *, eof: bool) -> None:
        """Pass on what of `data`, whose first byte is number `offset`, was not passed on before."""
        async with self._lock:
            rest = memoryview(data)[max(0, self.written - offset) :]
            while rest and not self.closed:
                rest = rest[await self._some(rest) :]
            if eof:
                self.close()

    def close(self) -> None:
        """End the process's input; idempotent."""
        if not self.closed:
            asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    async def _some(self, data: memoryview) -> int:
        try:
            count = os.write(self._fd, data)
        except BlockingIOError:
            await self._writable()
            return 0
        except BrokenPipeError:
            self.close()
            return 0
        self.written += count
        return count

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        writable: asyncio.Future[None] = loop.create_future()
        fd = self._fd
        loop.add_writer(fd, _wake, writable)
        try:
            await writable
        finally:
            with contextlib.suppress(ValueError, OSError):
                loop.remove_writer(fd)


async def ended(pid: int) -> None:
    """Return when the process `pid`, a child that was not waited for yet, has ended."""
    pidfd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _wake, over)
    try:
        await over
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
