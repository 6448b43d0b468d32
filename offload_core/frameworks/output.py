"""Output of programs as text: split into lines of bounded length, harmless to terminals, cut where it is too long."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..abc import ByteStream
from ..errors import ProviderError

MAX_LOG_BYTES = 1 << 13
"""A longer line of output that nobody has to understand is logged in pieces."""

TAIL_BYTES = 4096
"""How much of what was written last is kept to explain an unexpected end."""

_MAX_TAIL_LINES = 200
_HARMLESS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class Lines:
    """Splits chunks into lines, none longer than `limit` bytes; the rest of a longer one comes as lines of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Whole lines, without their ends."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield self._flushed() + line if self._parts else line
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                yield self._flushed()

    def end(self) -> Iterator[bytes]:
        """A last line that was not ended."""
        if self._parts:
            yield self._flushed()

    def _flushed(self) -> bytes:
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line


def harmless(data: bytes) -> str:
    """Output as text that does nothing to a terminal and can be written anywhere."""
    return data.decode(errors="backslashreplace").rstrip("\r").translate(_HARMLESS)


def seconds(value: Any) -> float:
    """A duration that can be added up and printed, whatever a tool says; 0.0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


class Log:
    """What a program says to people: logged, and the last of it kept.

    Args:
        log: called with a line, or with several and line breaks between them.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self.last: deque[str] = deque(maxlen=_MAX_TAIL_LINES)

    def say(self, *lines: str) -> None:
        """Log lines that came together, at once: a test may write millions."""
        if lines:
            self.last.extend(line[-TAIL_BYTES:] for line in lines[-_MAX_TAIL_LINES:])
            self._log("\n".join(lines))

    async def read(self, stream: ByteStream) -> None:
        """Log everything that comes.

        Raises:
            ProviderError: the stream broke.
        """
        lines = Lines(MAX_LOG_BYTES)
        try:
            async for chunk in stream:
                self.say(*map(harmless, lines.feed(chunk)))
                await asyncio.sleep(0)  # also if the stream never makes anybody wait
        except ProviderError:
            self.say(*map(harmless, lines.end()))
            raise
        self.say(*map(harmless, lines.end()))

    def tail(self) -> str:
        """The last lines that were logged, at most `TAIL_BYTES`."""
        return "\n".join(self.last)[-TAIL_BYTES:].strip()
