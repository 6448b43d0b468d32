"""The base of frameworks that keep one warm process per sandbox, driven by a plugin of ours inside the user's tool.

Requests, one JSON object a line on standard input: `{"run": [[key, id, number, path], …]}`,
`{"revoke": [key, …], "n": n}`, `{"close": true}`; a listing of pytest takes one `{"select": [entry, …]}`. Events, one a
line on standard output behind the marker, as `event`. Of sessions: `hello`, `module`, `started`, `finished`,
`teardown`, `heartbeat`, `revoked` (answers `revoke`), `bye`. Of listings: `tests`, `collected` or `failed`,
`unmatched`, `bye`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import PurePosixPath
from typing import Any, ClassVar

from cattrs import Converter
from typing_extensions import override

from ..abc import (
    Bye,
    Collection,
    Exit,
    Framework,
    Group,
    Heartbeat,
    Hello,
    Launch,
    ModuleStarted,
    Process,
    Section,
    SessionEvent,
    TeardownFailed,
    Test,
    TestFinished,
    TestSession,
    TestStarted,
)
from ..abc._framework import OptionsT
from ..errors import ConnectionLost, DiscoveryError, ExecFailed, ProviderError
from ..kit import race, settle
from .output import harmless, seconds
from .tool import ListingFailed, project_command
from .wire import Wire

_EVENTS: dict[str, type[Any]] = {
    **{"hello": Hello, "module": ModuleStarted, "started": TestStarted, "finished": TestFinished},
    **{"teardown": TeardownFailed, "heartbeat": Heartbeat, "bye": Bye},
}
_CONVERTER = Converter(detailed_validation=False)
_CONVERTER.register_structure_hook(float, lambda value, _: seconds(value))
_CONVERTER.register_structure_hook(Section, lambda pair, _: Section(*pair))


class WarmSession(TestSession, AsyncIterator[SessionEvent]):
    """A process that waits for tests. It is the iterator of its own events; see `TestSession`."""

    def __init__(self, process: Process, marker: str, launch: Launch) -> None:
        self._launch = launch
        self._wire = Wire(process, marker, launch.log, self._taken)
        self._revokes: dict[int, asyncio.Future[set[str]]] = {}
        self._numbers = count()
        self._complete = False
        self._closed = False
        self.events = self

    @override
    async def run(self, tests: Sequence[Test]) -> None:
        await self._wire.send({"run": [[test.key, test.id, test.number, test.path] for test in tests]})

    @override
    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back tests that have not started.

        Raises:
            ConnectionLost: also if the process ends before it has answered.
        """
        if self._wire.finished.done():
            raise ConnectionLost("pytest has ended", operation="revoke")
        number = next(self._numbers)
        answer = self._revokes[number] = asyncio.get_running_loop().create_future()
        try:
            await self._wire.send({"revoke": [test.key for test in tests], "n": number})
            await race(answer, self._wire.finished)
            if answer.cancelled():
                raise ConnectionLost("pytest ended before it answered", operation="revoke")
        finally:
            del self._revokes[number]
        return [test for test in tests if test.key in answer.result()]

    @override
    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            with suppress(ConnectionLost):  # it has ended: the events tell
                await self._wire.send({"close": True})
            await self._wire.close_stdin()

    @override
    async def kill(self) -> None:
        await self._wire.kill()

    @override
    async def wait(self) -> Exit:
        """The last lines of its output are the reason, unless it said goodbye."""
        ended = await self._wire.wait()
        return Exit(ended.code, ended.signal) if self._complete else ended

    @override
    async def __anext__(self) -> SessionEvent:
        while (raw := await self._wire.next()) is not None:
            try:
                event: SessionEvent = _CONVERTER.structure(raw, _EVENTS[raw["event"]])
            except (KeyError, ValueError, TypeError) as error:
                self._launch.log(f"an event that cannot be understood ({error!r}): {raw!r:.200}")
                continue
            self._complete = self._complete or isinstance(event, Bye)
            return event
        raise StopAsyncIteration

    def _taken(self, event: dict[str, Any]) -> bool:
        if event["event"] != "revoked":
            return False
        if (answer := self._revokes.get(event["n"])) is not None:
            settle(answer, set(event["keys"]))
        return True


class WarmFramework(Framework[OptionsT]):
    """A framework whose tool, with a plugin of ours in it, lists tests, or waits for them."""

    contract = 2
    Session: ClassVar[type[WarmSession]] = WarmSession
    title: ClassVar[str]
    """What people call the tool."""

    variable: ClassVar[str]
    """The environment variable in which the plugin finds its settings."""

    @abstractmethod
    async def install(self, launch: Launch) -> PurePosixPath:
        """Upload the plugin; returns its directory.

        Raises:
            ProviderError: as `Executor.upload`.
        """

    @abstractmethod
    def settings(self, launch: Launch, directory: PurePosixPath) -> Mapping[str, Any]:
        """What the plugin has to know, besides what all are told."""

    @abstractmethod
    def argv(self, launch: Launch, directory: PurePosixPath, words: Sequence[str]) -> Sequence[str]:
        """The tool's command with its plugin and more words."""

    @abstractmethod
    def remedy(self, argv: Sequence[str], code: int | None, said: str) -> str:
        """What to do about a tool that ended with this code before its work, and what it said."""

    def launcher(self, directory: PurePosixPath) -> Sequence[str]:
        """What stands before the tool's command, and is not shown to people."""
        return ()

    @override
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        process, marker, _ = await self._start(launch, "session")
        return self.Session(process, marker, launch)

    async def _start(self, launch: Launch, mode: str, words: Sequence[str] = ()) -> tuple[Process, str, Sequence[str]]:
        """Start the tool to do one of "discover" and "session". Returns it, its events' marker, and its command."""
        directory = await self.install(launch)
        marker = secrets.token_hex(12)
        own = {"mode": mode, "token": marker, "directory": str(directory), **self.settings(launch, directory)}
        argv = self.argv(launch, directory, words)
        env = {self.variable: json.dumps(own)}
        command = project_command(launch, (*self.launcher(directory), *argv), env)
        return await launch.executor.exec(command), marker, argv

    async def listed(
        self, group: Group, launch: Launch, words: Sequence[str], request: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a listing, without `bye`.

        Raises:
            DiscoveryError: the tool could not be started.
            ListingFailed: it ended before its work; its `ended.reason` has what it printed last.
        """
        try:
            process, marker, argv = await self._start(launch, "discover", words)
        except ExecFailed as error:
            raise DiscoveryError(f"{self.title} could not be started for group '{group.name}': {error}") from error
        wire = Wire(process, marker, launch.log, lambda event: event["event"] == "heartbeat")
        asked = asyncio.create_task(_ask(wire, request), name="selection")
        complete, whole = False, ""
        try:
            while (event := await wire.next()) is not None:
                match event["event"]:
                    case "collected" if event["failed"] and not event["path"]:
                        whole = event["details"]  # collecting the root itself
                    case "bye":
                        complete = True
                    case _:
                        yield event
            ended = await wire.wait()
        finally:
            asked.cancel()
            if not wire.over:
                await asyncio.shield(wire.kill())
            await asyncio.wait({asked})
        if whole or not complete:
            said = whole or wire.tail()
            what = f"{self.title} could not list the tests of group '{group.name}'"
            raise ListingFailed(what, argv, ended, said, self.remedy(argv, ended.code, said))


async def _ask(wire: Wire, request: Mapping[str, Any] | None) -> None:
    with suppress(ProviderError):  # it has ended: its exit tells
        if request is not None:
            await wire.send(request)
        await wire.close_stdin()


def warn_unmatched(group: Group, launch: Launch, entry: str) -> None:
    """Say that a group's selection names something that is not there."""
    shown = harmless(entry.encode(errors="backslashreplace"))
    launch.log(f"warning: nothing in group '{group.name}' matches {shown}")
