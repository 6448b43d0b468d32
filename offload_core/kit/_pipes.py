"""Pipes to local processes, for providers that have some. The kernel's buffers are the only ones."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Callable

from typing_extensions import override

from ._tasks import settle

_CHUNK = 1 << 16
_MAX_LAST_WORDS = 1 << 20


class PipeReader(AsyncIterator[bytes]):
    """The reading end of a pipe as a `ByteStream`. Nothing is read that nobody asks for.

    Takes the descriptor over: it is closed at the end of the stream, or when this object is dropped.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)
        self._left: int | None = None
        self._ready: asyncio.Future[None] | None = None

    def cut(self) -> None:
        """Let it end after what has been written by now, whoever still holds the other end."""
        if self._left is None:
            self._left = _MAX_LAST_WORDS
            if self._ready is not None:
                settle(self._ready, None)

    @override
    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)  # whoever writes faster than anybody reads must not hold up everything else
        while self._closing.alive and self._left != 0:
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                if self._left is not None:
                    break
                loop = asyncio.get_running_loop()
                self._ready = loop.create_future()
                await _until(self._ready, self._fd, loop.add_reader, loop.remove_reader)
                continue
            if not data:
                break
            if self._left is not None:
                self._left = max(self._left - len(data), 0)
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
                    loop = asyncio.get_running_loop()
                    await _until(loop.create_future(), self._fd, loop.add_writer, loop.remove_writer)

    async def close(self) -> None:
        """Close it, after what is being written."""
        async with self._turn:
            self._closing()


Pipes = tuple[PipeWriter, PipeReader, PipeReader]
"""Our ends of a process's standard input, output and error."""


def open_pipes() -> tuple[Pipes, tuple[int, int, int]]:
    """Pipes for a process that is about to be started.

    Returns:
        Our ends, and the descriptors that the process gets. Whoever starts it closes these then.

    Raises:
        OSError: no more files can be open.
    """
    ends: list[int] = []
    try:
        for _ in range(3):
            ends += os.pipe()
    except OSError:
        for end in ends:
            os.close(end)
        raise
    stdin, to_stdin, from_stdout, stdout, from_stderr, stderr = ends
    return (PipeWriter(to_stdin), PipeReader(from_stdout), PipeReader(from_stderr)), (stdin, stdout, stderr)


async def _until(
    ready: asyncio.Future[None], fd: int, add: Callable[..., object], remove: Callable[[int], object]
) -> None:
    add(fd, settle, ready, None)
    try:
        await ready
    finally:
        remove(fd)
