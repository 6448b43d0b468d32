"""Vitest: one warm process per sandbox, driven by a reporter of ours beside which the user's configuration stays."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen
from typing_extensions import override

from ...abc import (
    CollectionFailed,
    Discovered,
    Group,
    Health,
    Launch,
    ModuleStarted,
    Outcome,
    Process,
    SessionEvent,
    TestFinished,
    TestStarted,
    Upload,
    key,
    shell_words,
)
from ...errors import ProviderError
from ..output import seconds
from ..selection import is_asked
from ..tool import ListingFailed, Needed, ToolCrashed, checked, read_file
from ..warm import WarmFramework, WarmSession, warn_unmatched

_LOCKS = {
    "pnpm-lock.yaml": "pnpm exec vitest",
    "yarn.lock": "yarn vitest",
    "bun.lock": "bunx vitest",
    "bun.lockb": "bunx vitest",
}
_NEEDED = Needed("Vitest", r"vitest/(\d+)\.(\d+)", (2, 0), "install Vitest (`npm install -D vitest`)")
_MAX_CHARS = 30_000
_NO_FILES = "No test files found"


@frozen(kw_only=True)
class VitestOptions:
    """`[framework] type = "vitest"`."""

    command: str = key(
        "npx --no-install vitest", "How Vitest is started, split as a shell would.", validator=shell_words
    )
    run_args: str = key(
        "",
        "More arguments for Vitest, for discovery and sessions alike, split as a shell would.",
        validator=shell_words,
    )
    test_id_format: str = key(
        "{classname} > {name}", "Accepted for older configurations.", inert="ids are `file > suite > name`"
    )


class VitestSession(WarmSession):
    """A warm Vitest in a sandbox.

    Test processes note what they begin and end in a file, because whatever kills them may kill the reporter, too:
    after such an end, what it had not told is read from there.
    """

    def __init__(self, process: Process, marker: str, launch: Launch) -> None:
        super().__init__(process, marker, launch)
        self._began = _directory(launch) / "began.jsonl"
        self._ended: dict[str, bool] = {}
        self._untold: deque[SessionEvent] | None = None
        self._killed = False

    @override
    async def kill(self) -> None:
        self._killed = True
        await super().kill()

    @override
    async def __anext__(self) -> SessionEvent:
        if self._untold is None:
            try:
                return self._noted(await super().__anext__())
            except StopAsyncIteration:
                self._untold = deque() if self._complete or self._killed else await self._read()
        if not self._untold:
            raise StopAsyncIteration
        return self._untold.popleft()

    def _noted(self, event: SessionEvent) -> SessionEvent:
        if isinstance(event, TestStarted | TestFinished):
            self._ended[event.key] = isinstance(event, TestFinished)
        return event

    async def _read(self) -> deque[SessionEvent]:
        """What had begun or ended and was not told, from the file."""
        events: deque[SessionEvent] = deque()
        try:
            noted = await read_file(self._launch, self._began) or b""
        except (ProviderError, ToolCrashed) as error:
            self._launch.log(f"{self._began} could not be read: {error}")
            return events
        for line in noted.split(b"\n"):
            try:
                event = self._typed(*json.loads(line))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue  # also the line that it was at
            if event is not None:
                events.append(self._noted(event))
        return events

    def _typed(
        self, kind: str, what: str, outcome: str = "", message: str = "", ms: float = 0.0
    ) -> SessionEvent | None:
        match kind:
            case "m":
                file = PurePosixPath(what.partition("\0")[2])
                return ModuleStarted(str(file.relative_to(self._launch.root)))
            case "t" if what not in self._ended:
                return TestStarted(what)
            case "e" if not self._ended.get(what):
                return TestFinished(key=what, outcome=Outcome(outcome), duration=seconds(ms) / 1000, message=message)
            case _:
                return None


class Vitest(WarmFramework[VitestOptions]):
    """Lists and runs tests with Vitest 2.0 and newer."""

    Options = VitestOptions
    Session = VitestSession
    title = "Vitest"
    variable = "OFFLOAD_VITEST"
    start_secs = 0.25
    module_secs = 1.0

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        unmatched = set(group.select)
        try:
            async with aclosing(self.listed(group, launch, group.filters or _files(group, launch))) as events:
                async for event in events:
                    match event["event"]:
                        case "tests":
                            for id, number, path, module, line in event["tests"]:
                                unmatched.difference_update(asked := _chosen(group, launch, id, path))
                                if asked:
                                    yield group.test(id, path, affinity=module, number=number, file=path, line=line)
                        case "failed" if _chosen(group, launch, event["path"], event["file"]):
                            yield CollectionFailed(
                                path=event["path"], message=event["message"], details=event["details"]
                            )
        except ListingFailed as error:
            if _NO_FILES not in error.ended.reason:
                raise
        for one in sorted(unmatched):
            warn_unmatched(group, launch, one)

    @classmethod
    @override
    def guess_options(cls, directory: Path) -> dict[str, Any]:
        """The command that is there: starting it through a package manager takes longer."""
        own = "node_modules/.bin/vitest"
        if (directory / own).exists():
            return {"command": own}
        return next(({"command": command} for lock, command in _LOCKS.items() if (directory / lock).exists()), {})

    @override
    async def check(self, launch: Launch) -> Health:
        return await checked(launch, (*shlex.split(self.options.command), "--version"), _NEEDED)

    @override
    async def install(self, launch: Launch) -> PurePosixPath:
        directory = _directory(launch)
        await launch.executor.upload([Upload(Path(__file__).with_name("reporter"), directory / "reporter")])
        return directory

    @override
    def settings(self, launch: Launch, directory: PurePosixPath) -> Mapping[str, Any]:
        return {"reporter": str(directory / "reporter"), "root": str(launch.root)}

    @override
    def argv(self, launch: Launch, directory: PurePosixPath, words: Sequence[str]) -> tuple[str, ...]:
        more = shlex.split(self.options.run_args)
        own = [f"--reporter={directory / 'reporter' / 'reporter.mjs'}", "--watch=false"]
        if not any(word.startswith("--coverage") for word in more):
            own.append("--coverage.enabled=false")
        return (*shlex.split(self.options.command), "run", *own, *more, *words)

    @override
    def remedy(self, argv: Sequence[str], code: int | None, said: str) -> str:
        if code in (126, 127) or "canceled due to missing packages" in said:
            what = f"`{argv[0]}` or what it starts is not there"
            return f"{what}: {_NEEDED.install}, or correct `[framework] command`."
        return "Run the command by hand, without the option --reporter, to see what Vitest says."


def _directory(launch: Launch) -> PurePosixPath:
    """Of one session or discovery alone."""
    return launch.scratch / "vitest" / launch.name


def _chosen(group: Group, launch: Launch, id: str, path: str) -> list[str]:
    """By which of what the user asks for; by nothing in particular if everything is."""
    root = Path(launch.root)
    return [one for one in group.select if is_asked(id, path, [one], root)] if group.select else [""]


def _files(group: Group, launch: Launch) -> tuple[str, ...]:
    """The files of what is asked for, as filters for Vitest, so that it does not import all others to list them."""
    root = Path(launch.root)
    files: dict[str, None] = {}
    for one in group.select:
        file = re.sub(r"^\[[^]]*\] ", "", one).partition(" > ")[0]
        if not (root / file).exists():
            return ()
        files[os.path.relpath(root / file, root)] = None
    return tuple(files) if sum(map(len, files)) < _MAX_CHARS and "." not in files else ()
