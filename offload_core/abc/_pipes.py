"""Pipes to local processes, for providers that have some. The kernel's buffers are the only ones."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator

_CHUNK = 1 << 16


class PipeReader(AsyncIterator[bytes]):
    """The reading end of a pipe as a `ByteStream`. Nothing is read that nobody asks for.

    Takes the descriptor over: it is closed at the end of the stream, or when this object is dropped.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)  # whoever writes faster than anybody reads must not hold up everything else
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


class PipeWriter:
    """The writing end of a pipe. Takes the descriptor over: it is closed by `close`, or when this object is dropped."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it; returns when the pipe has taken it.

        Raises:
            BrokenPipeError: nobody reads any more, or it was closed.
        """
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
