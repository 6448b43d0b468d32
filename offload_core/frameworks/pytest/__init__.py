"""pytest: one warm process per sandbox, and discovery that hands on each file's tests as soon as it is imported."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakKeyDictionary

from attrs import field, frozen
from typing_extensions import override

from ...abc import (
    Collection,
    CollectionFailed,
    CollectionSkipped,
    Command,
    Discovered,
    Executor,
    Exit,
    Finding,
    Framework,
    Group,
    Health,
    Launch,
    Severity,
    TestSession,
    Upload,
    key,
    shell_words,
)
from ...errors import DiscoveryError, ExecFailed, OffloadError, ProviderError
from ..output import harmless
from .session import PytestSession
from .wire import Wire

_PLUGIN = "offload_pytest_plugin"
_OLDEST = (7, 0)
_CHECK_SECS = 60.0
_SHOWN_LINES = 30

# The plugin's directory comes first in whatever PYTHONPATH is there; the plugin takes it out again.
_WITH_PLUGIN = 'PYTHONPATH="$0${PYTHONPATH:+:$PYTHONPATH}"; export PYTHONPATH; exec "$@"'


@frozen(kw_only=True)
class PytestOptions:
    """`[framework] type = "pytest"`."""

    command: str = key(
        "python -m pytest",
        "How pytest is started, split as a shell would. With `offload` run from a virtual environment that is not "
        "activated, `python` on the host is that environment's.",
        validator=shell_words,
    )
    paths: tuple[str, ...] = key((), "Files and directories to collect, for discovery and sessions alike.")
    run_args: str = key(
        "",
        "More arguments for pytest, for discovery and sessions alike, split as a shell would.",
        validator=shell_words,
    )
    stream: bool = key(
        False,
        "Start tests before discovery has ended even if a plugin or conftest changes the collected items, which then "
        "sees one file at a time.",
    )
    test_id_format: str = key("{name}", "Accepted for older configurations.", inert="ids are pytest's own node ids")


@frozen(eq=False)
class _Installed:
    """Where the plugin is, for one executor."""

    lock: asyncio.Lock = field(factory=asyncio.Lock)
    directories: set[PurePosixPath] = field(factory=set)


class Pytest(Framework[PytestOptions]):
    """Lists and runs tests with pytest 7.0 and newer, on Python 3.8 and newer."""

    Options = PytestOptions
    contract = 2

    def __init__(self, options: PytestOptions) -> None:
        super().__init__(options)
        self._installed: WeakKeyDictionary[Executor, _Installed] = WeakKeyDictionary()

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        marker = secrets.token_hex(12)
        command = await self._command(launch, "discover", marker, ("--collect-only", "-q", *group.filters))
        try:
            process = await launch.executor.exec(command)
        except ExecFailed as error:
            raise DiscoveryError(f"pytest could not be started for group '{group.name}': {error}") from error
        wire = Wire(process, marker, launch.log, lambda event: event["event"] == "heartbeat")
        asked = asyncio.create_task(_ask(wire, group.select), name="pytest selection")
        complete, whole = False, ""
        try:
            while (event := await wire.next()) is not None:
                match event["event"]:
                    case "collected" if event["failed"] and not event["path"]:
                        whole = event["details"]  # collecting the root itself
                    case "unmatched":
                        for entry in event["select"]:
                            shown = harmless(entry.encode(errors="backslashreplace"))
                            launch.log(f"warning: nothing in group '{group.name}' matches {shown}")
                    case "bye":
                        complete = True
                    case _:
                        for found in _found(group, event):
                            yield found
            ended = await wire.wait()
        finally:
            asked.cancel()
            if not wire.over:
                await asyncio.shield(wire.kill())
            await asyncio.wait({asked})
        if whole or not complete:
            what = f"pytest could not list the tests of group '{group.name}'"
            raise DiscoveryError(_explained(what, command, ended, whole or wire.tail()))

    @override
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        marker = secrets.token_hex(12)
        command = await self._command(launch, "session", marker, ())
        return PytestSession(await launch.executor.exec(command), marker, launch.log)

    @override
    async def check(self, launch: Launch) -> Health:
        argv = (*shlex.split(self.options.command), "--version")
        command = Command(argv=argv, cwd=launch.root, env=launch.env)
        try:
            process = await launch.executor.exec(command)
            wire = Wire(process, secrets.token_hex(12), launch.log, lambda event: True)
            try:
                async with asyncio.timeout(_CHECK_SECS):
                    ended = await wire.wait()
            finally:
                if not wire.over:
                    await asyncio.shield(wire.kill())
        except TimeoutError:
            return _unhealthy(f"`{shlex.join(argv)}` did not end within {_CHECK_SECS:g} s", "run it by hand")
        except OffloadError as error:
            return _unhealthy(str(error), _todo(argv, None, ""))
        said = wire.tail()
        if not ended.ok:
            return _unhealthy(f"`{shlex.join(argv)}`: {ended}", _todo(argv, ended.code, said))
        return _judged(said)

    async def _command(self, launch: Launch, mode: str, marker: str, words: tuple[str, ...]) -> Command:
        directory = await self._install(launch)
        settings = {
            "mode": mode,
            "token": marker,
            "directory": str(directory),
            "stream": self.options.stream,
            "worker": launch.worker,
            "run": launch.env.get("OFFLOAD_RUN_ID") or f"offload-{launch.env.get('PYTHONHASHSEED', '')}",
            "environ": {"COVERAGE_FILE": str(launch.artefacts / ".coverage")},
        }
        own = ("-p", _PLUGIN, "-o", f"cache_dir={launch.scratch / 'pytest-cache'}")
        options = self.options
        argv = (*shlex.split(options.command), *own, *shlex.split(options.run_args), *words, *options.paths)
        return Command(
            argv=("/bin/sh", "-c", _WITH_PLUGIN, str(directory), *argv),
            cwd=launch.root,
            env={"TMPDIR": str(launch.scratch / "tmp"), **launch.env, "OFFLOAD_PYTEST": json.dumps(settings)},
        )

    async def _install(self, launch: Launch) -> PurePosixPath:
        """Upload the plugin, once to each place."""
        source = Path(__file__).with_name("plugin.py").read_bytes()
        directory = launch.scratch / f"pytest-{hashlib.sha256(source).hexdigest()[:12]}"
        installed = self._installed.setdefault(launch.executor, _Installed())
        async with installed.lock:
            if directory not in installed.directories:
                await launch.executor.upload([Upload(source, directory / f"{_PLUGIN}.py")])
                installed.directories.add(directory)
        return directory


async def _ask(wire: Wire, select: tuple[str, ...]) -> None:
    try:
        await wire.send({"select": select})
        await wire.close_stdin()
    except ProviderError:
        pass  # it has ended: its exit tells


def _found(group: Group, event: Mapping[str, Any]) -> Iterator[Discovered]:
    """What an event of the listing tells of."""
    match event["event"]:
        case "tests":
            for id, number, path, file, line in event["tests"]:
                yield group.test(id, path, number=number, file=file, line=line)
        case "collected" if event["failed"]:
            yield CollectionFailed(path=event["path"], message=event["message"], details=event["details"])
        case "collected":
            yield CollectionSkipped(path=event["path"], message=event["message"])


def _explained(what: str, command: Command, ended: Exit, said: str) -> str:
    argv = command.argv[4:]
    lines = "\n".join(f"    {line}" for line in said.splitlines()[-_SHOWN_LINES:])
    how = str(Exit(ended.code, ended.signal))
    return (
        f"{what}: {how}\n  command: {shlex.join(argv)}\n  its last lines:\n{lines}\n  {_todo(argv, ended.code, said)}"
    )


def _todo(argv: tuple[str, ...], code: int | None, said: str) -> str:
    """What to do about a pytest that does not start."""
    if "No module named pytest" in said:
        return f"Install pytest for `{argv[0]}`, or name another interpreter in `[framework] command`."
    if code in (None, 126, 127):
        hint = ' If Python is called `python3` there: command = "python3 -m pytest".' if argv[0] == "python" else ""
        return f"`{argv[0]}` cannot be run there: correct `[framework] command`.{hint}"
    if f"No module named '{_PLUGIN}'" in said:
        return "pytest did not find Offload's plugin: the command must hand on PYTHONPATH and its environment."
    if code == 4:
        return (
            "Correct the group's `filters`, `[framework] paths` or `run_args`, or the conftest.py that is named above."
        )
    return "Run the command by hand, without the options -p and -o, to see what pytest says."


def _unhealthy(what: str, todo: str) -> Health:
    return Health((Finding(Severity.ERROR, what, todo),))


def _judged(said: str) -> Health:
    """From what `pytest --version` prints."""
    number = next(
        (word for line in said.splitlines() if "pytest" in line for word in line.split() if word[0].isdigit()), ""
    )
    parts = number.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        return _unhealthy(f"this does not look like pytest: {said[:200]}", "correct `[framework] command`")
    if (int(parts[0]), int(parts[1])) < _OLDEST:
        return _unhealthy(f"pytest {number} is too old", "install pytest 7.0 or newer")
    return Health((Finding(Severity.OK, f"pytest {number}"),))
