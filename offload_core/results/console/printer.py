"""Lines of text with a style, and where they are written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, TextIO

from attrs import frozen
from typing_extensions import override

STYLES = {"bad": "1;31", "warn": "33", "good": "32", "strong": "1", "dim": "2"}
"""The styles there are, as ANSI codes."""


@frozen
class Line:
    """One line, without its end; `style` is a key of `STYLES` or empty."""

    text: str
    style: str = ""


class Printer(Protocol):
    """Takes lines for people to read."""

    def write(self, lines: Iterable[Line]) -> None:
        """Write all of them, at once if it can. Never raises for a stream that is closed."""
        ...


class StreamPrinter(Printer):
    """Writes to a stream, with ANSI styles if `color`. A stream that nobody reads any more is given up quietly."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self._color = color
        self._broken = False

    @override
    def write(self, lines: Iterable[Line]) -> None:
        text = "".join([self._styled(line) for line in lines])
        if self._broken or not text:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe, a full disk behind a redirection, a closed file
            self._broken = True
            self._discard()

    def _discard(self) -> None:
        """What is still in the stream's buffer must not fail once more at exit: Python would then exit with 120."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def _styled(self, line: Line) -> str:
        if self._color and line.style and line.text:
            return f"\x1b[{STYLES[line.style]}m{line.text}\x1b[0m\n"
        return f"{line.text}\n"
