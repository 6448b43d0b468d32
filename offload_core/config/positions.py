"""Where each key of a TOML document stands, which `tomllib` does not tell.

A scanner over a document that `tomllib` has already accepted: it knows where strings, arrays and tables begin and end,
and nothing of their values.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from .keys import KeyPath

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_SPACE = re.compile(r"[ \t]*")


def lines_of(document: str) -> dict[KeyPath, int]:
    """The line, counted from 1, of every key, table header and array element. `document` is valid TOML."""
    return _Scanner(document).scan()


class _Scanner:
    def __init__(self, document: str) -> None:
        self._text = document
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        start = self._at
        brackets = 2 if self._text.startswith("[[", start) else 1
        self._at += brackets
        *around, name = self._key()
        path = (*self._newest(around), name)
        if brackets == 2:
            number = self._elements[path] = self._elements.get(path, -1) + 1
            path = (*path, number)
        self._record(path, start)
        self._at += brackets
        return path

    def _newest(self, parts: Iterable[str]) -> KeyPath:
        """`[[a]]` then `[a.b]`: the second is in the newest element of the first."""
        path: KeyPath = ()
        for part in parts:
            path = (*path, part)
            if path in self._elements:
                path = (*path, self._elements[path])
        return path

    def _assignment(self, table: KeyPath) -> None:
        start = self._at
        path = (*table, *self._key())
        self._record(path, start)
        self._at += 1
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        match self._text[self._at]:
            case "[":
                self._inside(path, "]")
            case "{":
                self._inside(path, "}")
            case "'" | '"':
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _inside(self, path: KeyPath, closing: str) -> None:
        """An array or an inline table."""
        self._at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._take(closing):
                return
            if self._take(","):
                continue
            if closing == "}":
                self._assignment(path)
            else:
                self._record((*path, number), self._at)
                self._value((*path, number))
                number += 1

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._at] in "\"'"
            part = self._skip(_STRING if quoted else _BARE_KEY)
            parts.append(tomllib.loads(f"v = {part}")["v"] if quoted else part)
            self._skip(_SPACE)
            if not self._take("."):
                return parts

    def _take(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += len(character)
            return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None  # the document is valid
        self._at = match.end()
        return match.group()

    def _record(self, path: KeyPath, position: int) -> None:
        line = self._text.count("\n", 0, position) + 1
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
