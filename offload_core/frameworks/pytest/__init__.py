"""pytest: one warm process per sandbox, and discovery that hands on each file's tests as soon as it is imported."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakKeyDictionary

from attrs import frozen
from typing_extensions import override

from ...abc import (
    CollectionFailed,
    CollectionSkipped,
    Discovered,
    Executor,
    Finding,
    Group,
    Health,
    Launch,
    Severity,
    Upload,
    key,
    shell_words,
)
from ...errors import OffloadError
from ..tool import CHECK_SECS, Needed, run
from ..warm import WarmFramework, warn_unmatched

_PLUGIN = "offload_pytest_plugin"
_NEEDED = Needed("pytest", r"^pytest (\d+)\.(\d+)", (7, 0), "correct `[framework] command`")

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


class Pytest(WarmFramework[PytestOptions]):
    """Lists and runs tests with pytest 7.0 and newer, on Python 3.8 and newer."""

    Options = PytestOptions
    title = "pytest"
    variable = "OFFLOAD_PYTEST"

    def __init__(self, options: PytestOptions) -> None:
        super().__init__(options)
        # By executor: where the plugin is, and what has to be held to bring it there.
        self._installed: WeakKeyDictionary[Executor, tuple[set[PurePosixPath], asyncio.Lock]] = WeakKeyDictionary()

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        words = ("--collect-only", "-q", *group.filters)
        async with aclosing(self.listed(group, launch, words, {"select": group.select})) as events:
            async for event in events:
                match event["event"]:
                    case "tests":
                        for id, number, path, file, line in event["tests"]:
                            yield group.test(id, path, number=number, file=file, line=line)
                    case "collected" if event["failed"]:
                        yield CollectionFailed(path=event["path"], message=event["message"], details=event["details"])
                    case "collected":
                        yield CollectionSkipped(path=event["path"], message=event["message"])
                    case "unmatched":
                        for entry in event["select"]:
                            warn_unmatched(group, launch, entry)

    @override
    async def check(self, launch: Launch) -> Health:
        argv = (*shlex.split(self.options.command), "--version")
        try:
            async with asyncio.timeout(CHECK_SECS):
                ended = await run(launch, argv)
        except TimeoutError:
            return _unhealthy(f"`{shlex.join(argv)}` did not end within {CHECK_SECS:g} s", "run it by hand")
        except OffloadError as error:
            return _unhealthy(str(error), self.remedy(argv, None, ""))
        if not ended.ok:
            return _unhealthy(f"`{shlex.join(argv)}`: {ended}", self.remedy(argv, ended.code, ended.reason))
        said = ended.reason.strip()
        words = (word for line in said.splitlines() if "pytest" in line for word in line.split())
        number = next((word for word in words if word[0].isdigit()), "")
        return Health((_NEEDED.judge(f"pytest {number}" if number else said, _NEEDED.install),))

    @override
    async def install(self, launch: Launch) -> PurePosixPath:
        """Upload the plugin, once to each place."""
        source = Path(__file__).with_name("plugin.py").read_bytes()
        directory = launch.scratch / f"pytest-{hashlib.sha256(source).hexdigest()[:12]}"
        directories, lock = self._installed.setdefault(launch.executor, (set(), asyncio.Lock()))
        async with lock:
            if directory not in directories:
                await launch.executor.upload([Upload(source, directory / f"{_PLUGIN}.py")])
                directories.add(directory)
        return directory

    @override
    def settings(self, launch: Launch, directory: PurePosixPath) -> Mapping[str, Any]:
        return {
            "stream": self.options.stream,
            "worker": launch.worker,
            "run": launch.env.get("OFFLOAD_RUN_ID") or f"offload-{launch.env.get('PYTHONHASHSEED', '')}",
            "environ": {"COVERAGE_FILE": str(launch.artefacts / ".coverage")},
        }

    @override
    def launcher(self, directory: PurePosixPath) -> tuple[str, ...]:
        return ("/bin/sh", "-c", _WITH_PLUGIN, str(directory))

    @override
    def argv(self, launch: Launch, directory: PurePosixPath, words: Sequence[str]) -> tuple[str, ...]:
        options = self.options
        own = ("-p", _PLUGIN, "-o", f"cache_dir={launch.scratch / 'pytest-cache'}")
        return (*shlex.split(options.command), *own, *shlex.split(options.run_args), *words, *options.paths)

    @override
    def remedy(self, argv: Sequence[str], code: int | None, said: str) -> str:
        if "No module named pytest" in said:
            return f"Install pytest for `{argv[0]}`, or name another interpreter in `[framework] command`."
        if code in (None, 126, 127):
            hint = ' If Python is called `python3` there: command = "python3 -m pytest".' if argv[0] == "python" else ""
            return f"`{argv[0]}` cannot be run there: correct `[framework] command`.{hint}"
        if f"No module named '{_PLUGIN}'" in said:
            return "pytest did not find Offload's plugin: the command must hand on PYTHONPATH and its environment."
        if code == 4:
            options = "the group's `filters`, `[framework] paths` or `run_args`"
            return f"Correct {options}, or the conftest.py that is named above."
        return "Run the command by hand, without the options -p and -o, to see what pytest says."


def _unhealthy(what: str, remedy: str) -> Health:
    return Health((Finding(Severity.ERROR, what, remedy),))
