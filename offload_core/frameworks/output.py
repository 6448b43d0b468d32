"""Output of programs as text: split into lines of bounded length, harmless to terminals, cut where it is too long."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LOG_BYTES = 1 << 13
"""A longer line of output that nobody has to understand is logged in pieces."""

TAIL_BYTES = 4096
"""How much of what was written last is kept to explain an unexpected end."""

MAX_TAIL_LINES = 200

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
