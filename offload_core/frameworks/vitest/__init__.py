"""Vitest: one warm process per sandbox, driven by a reporter of ours beside which the user's configuration stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shlex
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen
from typing_extensions import override

from ...abc import (
    Collection,
    CollectionFailed,
    Command,
    Discovered,
    Exit,
    Framework,
    Group,
    Health,
    Launch,
    TestSession,
    Upload,
    key,
    shell_words,
)
from ...errors import DiscoveryError, ExecFailed
from ..output import harmless
from ..pytest.wire import Wire
from ..selection import is_asked
from ..tool import Needed, checked
from .session import VitestSession

_COMMAND = "npx --no-install vitest"
_LOCKS = {
    "pnpm-lock.yaml": "pnpm exec vitest",
    "yarn.lock": "yarn vitest",
    "bun.lock": "bunx vitest",
    "bun.lockb": "bunx vitest",
}
_NEEDED = Needed("Vitest", r"vitest/(\d+)\.(\d+)", (2, 0))
_SHOWN_LINES = 30
_MAX_CHARS = 30_000
_CORRECT = "correct `[framework] command`"
_INSTALL = f"install Vitest (`npm install -D vitest`), or {_CORRECT}"
_NO_FILES = "No test files found"


@frozen(kw_only=True)
class VitestOptions:
    """`[framework] type = "vitest"`."""

    command: str = key(_COMMAND, "How Vitest is started, split as a shell would.", validator=shell_words)
    run_args: str = key(
        "",
        "More arguments for Vitest, for discovery and sessions alike, split as a shell would.",
        validator=shell_words,
    )
    test_id_format: str = key(
        "{classname} > {name}", "Accepted for older configurations.", inert="ids are `file > suite > name`"
    )


class Vitest(Framework[VitestOptions]):
    """Lists and runs tests with Vitest 2.0 and newer."""

    Options = VitestOptions
    contract = 2
    start_secs = 0.25
    module_secs = 1.0

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        marker = secrets.token_hex(12)
        command = await self._command(launch, "discover", marker, group.filters or _files(group, launch))
        try:
            process = await launch.executor.exec(command)
        except ExecFailed as error:
            raise DiscoveryError(f"Vitest could not be started for group '{group.name}': {error}") from error
        wire = Wire(process, marker, launch.log, lambda event: False)
        complete = False
        unmatched = set(group.select)
        try:
            await wire.close_stdin()
            while (event := await wire.next()) is not None:
                match event["event"]:
                    case "tests":
                        for id, number, path, module, line in event["tests"]:
                            test = group.test(id, path, affinity=module, number=number, file=path, line=line)
                            unmatched.difference_update(asked := _chosen(group, launch, test.id, test.path))
                            if asked:
                                yield test
                    case "failed" if _chosen(group, launch, event["path"], event["file"]):
                        yield CollectionFailed(path=event["path"], message=event["message"], details=event["details"])
                    case "bye":
                        complete = True
            ended = await wire.wait()
        finally:
            if not wire.over:
                await asyncio.shield(wire.kill())
        said = wire.tail()
        if not complete and _NO_FILES not in said:
            raise DiscoveryError(_explained(group, command, ended, said))
        for one in sorted(unmatched):
            launch.log(f"warning: nothing in group '{group.name}' matches {harmless(one.encode(errors='replace'))}")

    @override
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        marker = secrets.token_hex(12)
        command = await self._command(launch, "session", marker, ())
        return VitestSession(await launch.executor.exec(command), marker, launch, _directory(launch))

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
        argv = (*shlex.split(self.options.command), "--version")
        return await checked(launch, argv, _INSTALL, _NEEDED)

    async def _command(self, launch: Launch, mode: str, marker: str, words: tuple[str, ...]) -> Command:
        directory = _directory(launch)
        reporter = directory / "reporter"
        await launch.executor.upload([Upload(Path(__file__).with_name("reporter"), reporter)])
        settings = {
            "mode": mode,
            "token": marker,
            "directory": str(directory),
            "reporter": str(reporter),
            "root": str(launch.root),
        }
        more = shlex.split(self.options.run_args)
        coverage = () if any(word.startswith("--coverage") for word in more) else ("--coverage.enabled=false",)
        argv = (
            *shlex.split(self.options.command),
            "run",
            f"--reporter={reporter / 'reporter.mjs'}",
            "--watch=false",
            *coverage,
            *more,
            *words,
        )
        return Command(
            argv=argv,
            cwd=launch.root,
            env={"TMPDIR": str(launch.scratch / "tmp"), **launch.env, "OFFLOAD_VITEST": json.dumps(settings)},
        )


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


def _explained(group: Group, command: Command, ended: Exit, said: str) -> str:
    lines = "\n".join(f"    {line}" for line in said.splitlines()[-_SHOWN_LINES:])
    how = str(Exit(ended.code, ended.signal))
    return (
        f"Vitest could not list the tests of group '{group.name}': {how}\n"
        f"  command: {shlex.join(command.argv)}\n  its last lines:\n{lines}\n  {_todo(command.argv, ended, said)}"
    )


def _todo(argv: tuple[str, ...], ended: Exit, said: str) -> str:
    """What to do about a Vitest that does not start."""
    if ended.code in (126, 127) or "canceled due to missing packages" in said:
        return f"`{argv[0]}` or what it starts is not there: {_INSTALL}."
    return "Run the command by hand, without the option --reporter, to see what Vitest says."
