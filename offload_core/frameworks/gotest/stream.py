"""What `go test -json` prints: one event per line, and messages of the go command between them.

https://pkg.go.dev/cmd/test2json describes the events. Build errors are events from Go 1.24 on; before, they are
messages under a heading `# import/path`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

from attrs import define, field, frozen
from typing_extensions import override

from ..batch import MAX_TEXT
from ..output import harmless, seconds

_HEADING = re.compile(r"# \[?([^\s\]]+)")
_NOT_BUILT = re.compile(rb"FAIL\t(\S+) \[(?:build|setup) failed\]$")
_RESULT = re.compile(r"(ok  |FAIL|\?   )\t")


@frozen(kw_only=True)
class Event:
    """One event.

    Attributes:
        package: the import path.
        test: the name, with `/` before each subtest; empty for the package itself.
        output: a piece of output, mostly one line with its end.
        seconds: how long what ended took.
        build: the package that did not build, and so made this one fail.
    """

    action: str
    package: str = ""
    test: str = ""
    output: str = ""
    seconds: float = 0.0
    build: str = ""

    @property
    def top(self) -> str:
        """The test that a subtest belongs to, or the test itself."""
        return self.test.partition("/")[0]


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
        package=_text(data, "Package") or _import_path(data, "ImportPath"),
        test=_text(data, "Test"),
        output=_text(data, "Output"),
        seconds=seconds(data.get("Elapsed")),
        build=_import_path(data, "FailedBuild"),
    )


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) else ""


def _import_path(data: dict[str, Any], name: str) -> str:
    """`p` of `p [p.test]`."""
    return _text(data, name).partition(" ")[0]


@define
class Text:
    """Text that grows, of which head and tail are kept."""

    _head: list[str] = field(factory=list)
    _tail: deque[str] = field(factory=deque)
    _room: int = MAX_TEXT // 2
    _held: int = 0
    _left_out: int = 0

    def add(self, piece: str) -> None:
        """Append."""
        if not piece:
            return
        if self._room > 0:
            self._head.append(piece)
            self._room -= len(piece)
            return
        self._tail.append(piece)
        self._held += len(piece)
        while self._held > MAX_TEXT // 2 and len(self._tail) > 1:
            gone = len(self._tail.popleft())
            self._held -= gone
            self._left_out += gone

    @override
    def __str__(self) -> str:
        mark = f"\n[… {self._left_out} characters left out …]\n" if self._left_out else ""
        return "".join((*self._head, mark, *self._tail))


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


def is_result(output: str) -> bool:
    """Whether a line is the one that go adds to the output of a package."""
    return _RESULT.match(output) is not None
