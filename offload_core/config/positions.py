"""Where each key of a TOML document stands, which `tomllib` does not tell.

A scanner over a document that `tomllib` has already accepted: it knows where strings, arrays and tables begin and end,
and nothing of their values.
"""

from __future__ import annotations

import re
import tomllib

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
    scanner = _Scanner(document)
    scanner.scan()
    return scanner.lines


class _Scanner:
    def __init__(self, document: str) -> None:
        self.text = document
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}

    def scan(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path = self._inside_arrays(self._key(), last=not array)
        if array:
            number = self._elements[path] = self._elements.get(path, -1) + 1
            self._record(path, start)
            path = (*path, number)
        self._record(path, start)
        self.at += 2 if array else 1
        return path

    def _inside_arrays(self, path: KeyPath, *, last: bool) -> KeyPath:
        """`[[a]]` then `[a.b]`: the second is in the newest element of the first."""
        inside: KeyPath = ()
        for index, part in enumerate(path):
            inside = (*inside, part)
            if inside in self._elements and (last or index < len(path) - 1):
                inside = (*inside, self._elements[inside])
        return inside

    def _assignment(self, table: KeyPath) -> None:
        start = self.at
        path = (*table, *self._key())
        self._record(path, start)
        self.at += 1
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self._skip(_STRING)
        elif opening == "[":
            self._list(path)
        elif opening == "{":
            self._inline(path)
        else:
            self._skip(_SCALAR)

    def _list(self, path: KeyPath) -> None:
        self.at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._take("]"):
                return
            if self._take(","):
                continue
            element = (*path, number)
            self._record(element, self.at)
            self._value(element)
            number += 1

    def _inline(self, path: KeyPath) -> None:
        self.at += 1
        while True:
            self._skip(_BLANK)
            if self._take("}"):
                return
            if not self._take(","):
                self._assignment(path)

    def _key(self) -> KeyPath:
        parts = []
        while True:
            self._skip(_SPACE)
            quoted = self.text[self.at] in "\"'"
            part = self._skip(_STRING if quoted else _BARE_KEY)
            parts.append(tomllib.loads(f"v = {part}")["v"] if quoted else part)
            self._skip(_SPACE)
            if not self._take("."):
                return tuple(parts)

    def _take(self, character: str) -> bool:
        if self.text.startswith(character, self.at):
            self.at += len(character)
            return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def _record(self, path: KeyPath, position: int) -> None:
        line = self.text.count("\n", 0, position) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
