"""What `go test -json` prints: one event per line, and messages of the go command between them.

https://pkg.go.dev/cmd/test2json describes the events. Build errors are events from Go 1.24 on; before, they are
messages under a heading `# import/path`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import define, field, frozen
from typing_extensions import override

from ...kit import cut
from ..batch import MAX_TEXT
from ..output import harmless, seconds

_HEADING = re.compile(r"# \[?([^\s\]]+)")
_NOT_BUILT = re.compile(rb"FAIL\t(\S+) \[(?:build|setup) failed\]$")
RESULT = re.compile(r"(ok  |FAIL|\?   )\t")
"""The line that go adds to the output of a package."""


@frozen(kw_only=True)
class Event:
    """One event."""

    action: str
    package: str = ""  # its import path
    test: str = ""  # its name, with `/` before each subtest; empty for the package itself
    output: str = ""  # a piece of it, mostly one line with its end
    seconds: float = 0.0  # that what ended took
    build: str = ""  # the package that did not build, and so made this one fail


def event(line: bytes) -> Event | None:
    """The event on a line, if there is one; older versions say in words that a package did not build."""
    if failed := _NOT_BUILT.match(line):
        return Event(action="fail", package=failed[1].decode(errors="replace"))
    if not line.startswith(b"{"):
        return None
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("Action"), str):
        return None
    return Event(
        action=data["Action"],
        package=_text(data, "Package") or _text(data, "ImportPath").partition(" ")[0],  # `p` of `p [p.test]`
        test=_text(data, "Test"),
        output=_text(data, "Output"),
        seconds=seconds(data.get("Elapsed")),
        build=_text(data, "FailedBuild").partition(" ")[0],
    )


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) else ""


@define
class Text:
    """Text that grows, of which head and tail are kept: at least what a result can hold."""

    _pieces: list[str] = field(factory=list)
    _size: int = 0

    def add(self, piece: str) -> None:
        """Append."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > 4 * MAX_TEXT:
            self._pieces = [cut(str(self), 2 * MAX_TEXT)]
            self._size = len(self._pieces[0])

    @override
    def __str__(self) -> str:
        return "".join(self._pieces)


@define
class Builds:
    """What the compiler and `go vet` said, by import path."""

    _said: dict[str, Text] = field(factory=dict)
    _heading: str = ""

    def take(self, event: Event) -> None:
        """An event of a build."""
        self._said.setdefault(event.package, Text()).add(event.output)

    def message(self, line: bytes) -> None:
        """A line that is no event."""
        text = harmless(line)
        if heading := _HEADING.match(text):
            self._heading = heading[1]
        if self._heading:
            self._said.setdefault(self._heading, Text()).add(f"{text}\n")

    def of(self, *packages: str) -> str:
        """What was said of the first of these packages of which anything was."""
        return next((str(self._said[each]).strip() for each in packages if each in self._said), "")


def summary(said: str) -> str:
    """The first line that says something."""
    lines = (line.strip() for line in said.splitlines())
    return next((line for line in lines if line and not line.startswith("# ")), "")
