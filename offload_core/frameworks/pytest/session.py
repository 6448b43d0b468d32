"""A warm pytest process in a sandbox.

Requests, one JSON object a line on standard input: `{"run": [[key, id, number, path], …]}`,
`{"revoke": [key, …], "n": n}`, `{"close": true}`. Events, one a line on standard output behind the marker, as `event`:
`hello`, `module`, `started`, `finished`, `teardown`, `heartbeat`, `revoked` (answers `revoke`), `bye`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any

from typing_extensions import override

from ...abc import (
    Bye,
    Exit,
    Heartbeat,
    Hello,
    ModuleStarted,
    Outcome,
    Process,
    Section,
    SessionEvent,
    TeardownFailed,
    Test,
    TestFinished,
    TestSession,
    TestStarted,
)
from ...errors import ConnectionLost
from .wire import Wire


class PytestSession(TestSession):
    """A pytest process that waits for tests. See `TestSession`."""

    def __init__(self, process: Process, marker: str, log: Callable[[str], None]) -> None:
        self._wire = Wire(process, marker, log, self._taken)
        self._revokes: dict[int, asyncio.Future[set[str]]] = {}
        self._numbers = count()
        self._log = log
        self._complete = False
        self._closed = False
        self.events: AsyncIterator[SessionEvent] = _Events(self._next)

    @override
    async def run(self, tests: Sequence[Test]) -> None:
        await self._wire.send({"run": [[test.key, test.id, test.number, test.path] for test in tests]})

    @override
    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back tests that have not started.

        Raises:
            ConnectionLost: also if the process ends before it has answered.
        """
        if self._wire.finished.is_set():
            raise ConnectionLost("pytest has ended", operation="revoke")
        number = next(self._numbers)
        answer: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()
        self._revokes[number] = answer
        try:
            await self._wire.send({"revoke": [test.key for test in tests], "n": number})
            finished = asyncio.create_task(self._wire.finished.wait())
            waited: set[asyncio.Future[Any]] = {answer, finished}
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                finished.cancel()
            if not answer.done():
                raise ConnectionLost("pytest ended before it answered", operation="revoke")
        finally:
            del self._revokes[number]
        return [test for test in tests if test.key in answer.result()]

    @override
    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await self._wire.send({"close": True})
            except ConnectionLost:
                pass  # it has ended: the events tell
            await self._wire.close_stdin()

    @override
    async def kill(self) -> None:
        await self._wire.kill()

    @override
    async def wait(self) -> Exit:
        """The last lines of its output are the reason, unless it said goodbye."""
        ended = await self._wire.wait()
        return Exit(ended.code, ended.signal) if self._complete else ended

    def _taken(self, event: dict[str, Any]) -> bool:
        if event["event"] != "revoked":
            return False
        answer = self._revokes.get(event["n"])
        if answer is not None and not answer.done():
            answer.set_result(set(event["keys"]))
        return True

    async def _next(self) -> SessionEvent:
        while True:
            raw = await self._wire.next()
            if raw is None:
                raise StopAsyncIteration
            try:
                event = _typed(raw)
            except (KeyError, ValueError, TypeError) as error:
                self._log(f"an event that cannot be understood ({error!r}): {raw!r:.200}")
                continue
            if isinstance(event, Bye):
                self._complete = True
            return event


class _Events(AsyncIterator[SessionEvent]):
    """Not a generator: a cancelled wait must not end it."""

    def __init__(self, following: Callable[[], Any]) -> None:
        self._following = following

    @override
    async def __anext__(self) -> SessionEvent:
        event: SessionEvent = await self._following()
        return event


def _seconds(value: Any) -> float:
    """A duration that can be added up and printed, whatever came."""
    seconds = float(value)
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _typed(event: dict[str, Any]) -> SessionEvent:
    match event["event"]:
        case "started":
            return TestStarted(event["key"])
        case "finished":
            return TestFinished(
                key=event["key"],
                outcome=Outcome(event["outcome"]),
                duration=_seconds(event["duration"]),
                message=event.get("message", ""),
                details=event.get("details", ""),
                output=tuple(Section(title, text) for title, text in event.get("output", ())),
                properties=tuple((name, value) for name, value in event.get("properties", ())),
            )
        case "heartbeat":
            return Heartbeat()
        case "module":
            return ModuleStarted(event["path"])
        case "teardown":
            return TeardownFailed(key=event["key"], message=event["message"], details=event["details"])
        case "hello":
            return Hello(versions=event["versions"])
        case "bye":
            return Bye(event["reason"])
        case other:
            raise ValueError(f"unknown event {other!r}")
