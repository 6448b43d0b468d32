"""The sentinel: one line on standard error by which any command says that the sandbox is dead."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from typing_extensions import override

from offload_core.kit import PipeReader, settle

SENTINEL = "OFFLOAD_SANDBOX_DEAD:"

_MAX_REASON = 2000
_MAX_LINE = 4 * _MAX_REASON  # of a longer line, only its beginning is looked at
_MAX_UNREAD = 1 << 20
_GRACE_SECS = 0.5
_END = re.compile(rb"[\r\n]")


class Scanner:
    """Looks for the sentinel at the beginning of lines, whatever the chunks they come in."""

    def __init__(self) -> None:
        self._line = b""

    def feed(self, chunk: bytes) -> str | None:
        """The reason of the first sentinel whose line has ended, or None."""
        first, *rest = _END.split(chunk)
        self._line += first[:_MAX_LINE]
        if not rest:
            self._line = self._line[:_MAX_LINE]
            return None
        *whole, last = rest
        lines = [self._line, *whole]
        self._line = last[:_MAX_LINE]
        return next((reason for line in lines if (reason := _reason(line)) is not None), None)

    def end(self) -> str | None:
        """The same for a last line that was not ended."""
        return _reason(self._line)


def _reason(line: bytes) -> str | None:
    line = line.lstrip()
    if not line.startswith(SENTINEL.encode()):
        return None
    reason = line[len(SENTINEL) : _MAX_LINE].decode(errors="replace").strip()[:_MAX_REASON]
    return reason or "the command gave no reason"


class SentinelReader(AsyncIterator[bytes]):
    """The standard error of a command: handed on as it is, and searched for the sentinel as it comes.

    Attributes:
        dead: gets the reason when the sentinel comes.
        reading: ends with the stream.
    """

    def __init__(self, pipe: PipeReader) -> None:
        self.dead: asyncio.Future[str] = asyncio.Future()
        self._chunks: deque[bytes] = deque()
        self._read = self._unread = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.reading = asyncio.create_task(self._search(pipe), name="standard error")

    @override
    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self.reading.done():
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        self._room.set()
        return chunk

    async def settle(self) -> None:
        """Once the command has ended: wait for its last words."""
        await settled([self.reading], lambda: self._read)

    async def close(self) -> None:
        """Read no more."""
        self.reading.cancel()
        await asyncio.wait({self.reading})

    async def _search(self, pipe: PipeReader) -> None:
        scanner = Scanner()
        try:
            async for chunk in pipe:
                self._found(scanner.feed(chunk))
                self._chunks.append(chunk)
                self._read += len(chunk)
                self._unread += len(chunk)
                self._changed.set()
                while self._unread >= _MAX_UNREAD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            self._found(scanner.end())
            asyncio.get_running_loop().call_soon(self._changed.set)  # after this task is done

    def _found(self, reason: str | None) -> None:
        if reason is not None:
            settle(self.dead, reason)


async def settled(reading: Iterable[asyncio.Task[None]], size: Callable[[], int]) -> None:
    """Wait for the last words of a command that has ended, not for what else may hold its streams open.

    Args:
        reading: read the streams to their ends.
        size: how many bytes have been read by now.
    """
    left = set(reading)
    while left:
        before = size()
        _, left = await asyncio.wait(left, timeout=_GRACE_SECS)
        if size() == before:
            return
