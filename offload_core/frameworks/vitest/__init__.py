"""Vitest: one warm process per sandbox, driven by a reporter of ours beside which the user's configuration stays."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen
from typing_extensions import override

from ...abc import (
    Collection,
    CollectionFailed,
    Discovered,
    Group,
    Health,
    Launch,
    TestSession,
    Upload,
    key,
    shell_words,
)
from ..selection import is_asked
from ..tool import ListingFailed, Needed, checked
from ..warm import WarmFramework, warn_unmatched
from .session import VitestSession

_COMMAND = "npx --no-install vitest"
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

    command: str = key(_COMMAND, "How Vitest is started, split as a shell would.", validator=shell_words)
    run_args: str = key(
        "",
        "More arguments for Vitest, for discovery and sessions alike, split as a shell would.",
        validator=shell_words,
    )
    test_id_format: str = key(
        "{classname} > {name}", "Accepted for older configurations.", inert="ids are `file > suite > name`"
    )


class Vitest(WarmFramework[VitestOptions]):
    """Lists and runs tests with Vitest 2.0 and newer."""

    Options = VitestOptions
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

    @override
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        process, marker, _ = await self.start(launch, "session")
        return VitestSession(process, marker, launch, _directory(launch))

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
