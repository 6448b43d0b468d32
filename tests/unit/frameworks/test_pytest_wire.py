"""The host's end of the plugin's stream: lines, limits, garbage; and what the plugin may be written in."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from offload_core.abc import Command, Exit, Process
from offload_core.frameworks import pytest as framework
from offload_core.frameworks.output import MAX_LOG_BYTES, TAIL_BYTES, Lines, harmless
from offload_core.frameworks.pytest import Pytest, PytestOptions
from offload_core.frameworks.wire import Wire


class Canned(Process):
    """A process that has already written everything."""

    def __init__(self, stdout: Iterable[bytes] = (), stderr: Iterable[bytes] = ()) -> None:
        self.command = Command(argv=("canned",))
        self.stdout = self._chunks(stdout)
        self.stderr = self._chunks(stderr)

    async def _chunks(self, chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def write(self, data: bytes) -> None:
        """Take it."""

    async def close_stdin(self) -> None:
        """Nothing was open."""

    async def kill(self) -> None:
        """It has ended."""

    async def wait(self) -> Exit:
        """It was fine."""
        return Exit(code=0)


async def read(
    stdout: Sequence[bytes] = (), stderr: Sequence[bytes] = (), **how: int
) -> tuple[list[dict[str, Any]], list[str], Exit]:
    """The events, the log and the exit that such a process makes."""
    log: list[str] = []
    wire = Wire(Canned(stdout, stderr), "MARK", log.append, lambda event: event["event"] == "taken", **how)
    events = []
    async with asyncio.timeout(60):
        while (event := await wire.next()) is not None:
            events.append(event)
        return events, log, await wire.wait()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_lines_in_any_chunks(size: int) -> None:
    """Lines are the same however the stream was cut."""
    data = b"one\n\ntwo three\nlast"
    lines = Lines(100)
    found = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
    assert [*found, *lines.end()] == data.split(b"\n")


def test_long_lines() -> None:
    """A line over the limit comes in pieces, so that memory is bounded, and nothing is lost."""
    lines = Lines(10)
    found = [line for _ in range(50) for line in lines.feed(b"x" * 7)]
    found += [*lines.feed(b"\nnext\n"), *lines.end()]
    assert b"".join(found) == b"x" * 350 + b"next"
    assert max(map(len, found)) <= 17
    assert found[-1] == b"next"


def test_harmless() -> None:
    """Nothing that moves a cursor or cannot be encoded survives."""
    assert harmless(b"a\tb\x1b[31m\xff\x00\r") == "a\tb\\x1b[31m\\xff\\x00"


async def test_events_among_garbage() -> None:
    """Events are found behind other output on their line; garbage and what only looks like an event is logged."""
    events, log, _ = await read(
        [
            b"noise\n",
            b'half a lineMARK {"event": "one"}\n',
            b"MARK {cut off MARK ",
            b'{"event": "two"}\nMARK not json\nMARK [1]\nMARK 7\nMARK {}\n',
            b'MARK {"event": "taken"}\nMARKx {"event": "no"}\n',
            b'MARK {"event": "three"}',
        ]
    )
    assert [event["event"] for event in events] == ["one", "two", "three"]
    said = "\n".join(log)
    for word in ("noise", "half a line", "cut off", "not json", "MARKx"):
        assert word in said


async def test_overlong_event() -> None:
    """An event over the bound is skipped and said; the next one arrives."""
    long = b'MARK {"event": "long", "x": "' + b"y" * 500 + b'"}'
    chunks = [long[start : start + 50] for start in range(0, len(long), 50)]
    events, log, _ = await read([*chunks, b'\nMARK {"event": "next"}\n'], max_event_bytes=100)
    assert [event["event"] for event in events] == ["next"]
    assert any("event" in line for line in log)


async def test_surrogates() -> None:
    """Lone surrogates stay in ids, and become visible escapes in texts."""
    event = {"event": "finished", "key": "\udcff", "message": "\udcff 😀", "output": [["t", "\ud800"]]}
    (found,), _, _ = await read([b"MARK " + json.dumps(event).encode() + b"\n"])
    assert found["key"] == "\udcff"
    assert found["message"] == "\\udcff 😀"
    assert found["output"] == [["t", "\\ud800"]]


async def test_many_events_wait() -> None:
    """When nobody asks for events, reading stops, and nothing is lost once somebody does."""
    line = b'MARK {"event": "x"}\n'
    left = [line * 100] * 100
    wire = Wire(Canned((left.pop() for _ in range(100)), ()), "MARK", lambda line: None, lambda event: False)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(left) > 80
    count = 0
    async with asyncio.timeout(60):
        while await wire.next() is not None:
            count += 1
    assert count == 10_000


async def test_tail() -> None:
    """The exit carries the last output, bounded; of a crash report its beginning."""
    _, log, ended = await read(stderr=[b"".join(b"line %d\n" % number for number in range(5000)), b"x" * 100_000])
    assert len(ended.reason.removeprefix("\n")) <= TAIL_BYTES
    assert max(map(len, log)) <= 2 * 100_000
    _, _, ended = await read(stderr=[b"before\nFatal Python error: Aborted\n" + b"  File x\n" * 100])
    assert ended.reason.startswith("\nFatal Python error: Aborted")
    assert MAX_LOG_BYTES >= TAIL_BYTES


def test_options() -> None:
    """A command that cannot be split is refused with the name of the key."""
    assert isinstance(Pytest(PytestOptions()).options, PytestOptions)
    with pytest.raises(ValueError, match="command"):
        PytestOptions(command="python '")
    with pytest.raises(ValueError, match="command"):
        PytestOptions(command=" ")
    with pytest.raises(ValueError, match="run_args"):
        PytestOptions(run_args='"')


def test_plugin_is_old_python() -> None:
    """The file that travels parses as Python 3.8 and imports only pytest and the standard library of 3.8."""
    source = Path(framework.__file__).with_name("plugin.py").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= {
        *("__future__", "_thread", "collections", "contextlib", "difflib", "fcntl", "io", "json", "os", "queue"),
        *("resource", "sys", "time", "traceback", "typing", "pytest", "_pytest"),
    }
