"""go test: one `go test -json` for each batch; results come as they happen.

Ids are `pkg/sub.TestName`: the package's directory in the project and the test; of the root package, the name alone.
"""

from __future__ import annotations

import argparse
import re
import shlex
import warnings
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from attrs import frozen
from typing_extensions import override

from ...abc import CollectionFailed, Discovered, Group, Launch, key, shell_words
from ...errors import DiscoveryError, FrameworkUnusable
from ..batch import Batch, BatchFramework
from ..selection import is_asked, is_selected
from ..tool import Needed, ToolCrashed
from .packages import list_packages, read_tests
from .stream import Builds, event, summary
from .verdicts import PackageRun

_USE = re.compile(r"^use\s+(?:\(([^)]*)\)|(\S+))", re.MULTILINE)

_NAME = re.compile(r"(Test|Example|Fuzz)(\w*)")
_OURS = {
    **dict.fromkeys(("run", "skip"), "belongs into a group's `filters`"),
    **dict.fromkeys(("json", "c", "o", "list", "exec"), "is Offload's own here"),
    **dict.fromkeys(("count", "cpu"), "would run tests more than once: use `retry_count`, or start several runs"),
    **dict.fromkeys(("bench", "fuzz"), "runs no tests"),
    "failfast": "is Offload's: use `offload run --fail-fast`",
    "timeout": "is Offload's: use `[offload] test_timeout_secs`",
}
_HOW = "`-run REGEX`, `-skip REGEX` and packages are what a group's filters can be; other flags belong into `run_args`"


def _run_args(instance: object, attribute: Any, value: str) -> None:
    shell_words(instance, attribute, value)
    for word in shlex.split(value):
        if word in ("-args", "--args"):
            break
        flag = word.lstrip("-").partition("=")[0].removeprefix("test.")
        if word.startswith("-") and flag in _OURS:
            raise ValueError(f"run_args: -{flag} {_OURS[flag]}")


@frozen(kw_only=True)
class GoOptions:
    """`[framework] type = "go"`."""

    command: str = key("go", "How the go command is started, split as a shell would.", validator=shell_words)
    packages: tuple[str, ...] = key(("./...",), "The packages to test, as `go test` takes them, in the project's root.")
    run_args: str = key(
        "",
        "More arguments for `go test`, for listing and running alike, such as `-race` or `-tags integration`, split as "
        "a shell would. What follows `-args` goes to the test binaries.",
        validator=_run_args,
    )


class Go(BatchFramework[GoOptions]):
    """Lists and runs the tests, examples and fuzz seeds of Go packages, with Go 1.20 and newer."""

    Options = GoOptions
    start_secs: ClassVar[float] = 0.5
    needed = Needed("Go", r"\bgo(\d+)\.(\d+)", (1, 20), "install Go there: https://go.dev/doc/install")
    max_id_chars = 30_000  # the names of a batch are one argument, which can have 128 KiB

    def __init__(self, options: GoOptions) -> None:
        super().__init__(options)
        self._go = shlex.split(options.command)
        self._run_args = shlex.split(options.run_args)

    @classmethod
    @override
    def guess_options(cls, directory: Path) -> dict[str, Any]:
        """The modules of a workspace, where there is one: `./...` is not all of them."""
        try:
            work = (directory / "go.work").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
        work = re.sub(r"//.*", "", work)
        uses = [use for block, one in _USE.findall(work) for use in (block or one).split()]
        return {"packages": [f"{use.rstrip('/')}/..." for use in uses]} if uses else {}

    @override
    def version_command(self) -> Sequence[str]:
        """`go version`: also tells the toolchain that the project's go.mod selects."""
        return (*self._go, "version")

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        """List the tests of a group, as go lists them, without building them; see `Framework.discover`."""
        patterns, selects = _filters(group)
        packages = await list_packages(launch, self._go, self._run_args, patterns or self.options.packages)
        wanted = [package for package in packages if _may_hold(package.path, group, launch)]
        await read_tests(launch, [package for package in wanted if not package.error])
        for package in wanted:
            if package.error:
                yield CollectionFailed(path=package.path, message=summary(package.error), details=package.error)
            for name in filter(selects, package.tests):
                id = name if package.path == "." else f"{package.path}.{name}"
                if is_selected(group, launch, id, package.path):
                    file, line = package.tests[name] or (None, None)
                    yield group.test(id, package.path, affinity=package.name, file=file, line=line)

    @override
    async def run_batch(self, batch: Batch) -> None:
        """The tests of one package or of several, in a process for each, as many at once as go runs."""
        ids: defaultdict[str, dict[str, str]] = defaultdict(dict)
        names: defaultdict[PurePosixPath, list[str]] = defaultdict(list)
        for test in batch.left.values():
            name = test.id.rpartition(".")[2]
            ids[test.affinity][name] = test.id
            names[batch.launch.root / test.path].append(name)
        runs = {package: PackageRun(batch, its) for package, its in ids.items()}
        builds = Builds()
        chooser = await batch.upload("choose.sh", _chooser(names))
        script = await batch.upload("go.sh", self._go_test(chooser, tuple(runs)))
        async with await batch.start(("/bin/sh", str(script)), env={"PWD": str(batch.launch.root)}) as tool:
            async for line in tool.lines():
                each = event(line)
                if each is None:
                    builds.message(line)
                    tool.say(line)
                elif each.action.startswith("build-"):
                    builds.take(each)
                elif each.package in runs:
                    runs[each.package].take(each)
            ended = await tool.exit()
        if not any(run.seen for run in runs.values()):
            raise FrameworkUnusable(f"`go test` does not run: {ended}: {summary(tool.tail())}\n{tool.tail()}")
        crashes = [crash for run in runs.values() if (crash := run.end(builds, tool.tail()))]
        if crashes:
            raise ToolCrashed("\n".join(crashes))

    def _go_test(self, chooser: PurePosixPath, packages: Sequence[str]) -> bytes:
        """A script, as it can be longer than some backends let a command be. All that go says comes in its order."""
        mark = '"' if "'" in str(chooser) else "'"  # go knows both, but no way to escape them
        ours = ("-json", "-count=1", "-timeout=0", "-failfast=false", f"-exec=/bin/sh {mark}{chooser}{mark}")
        argv = (*self._go, "test", *ours, *packages, *self._run_args)
        return f"exec {shlex.join(argv)} 2>&1\n".encode()


def _chooser(names: Mapping[PurePosixPath, Iterable[str]]) -> bytes:
    """The script that starts each test binary, in its package's directory, with the tests that were asked for.

    `go test` itself has but one `-run` for all packages.
    """
    cases = [f"{shlex.quote(str(where))}) tests={shlex.quote('|'.join(each))};;" for where, each in names.items()]
    lines = ("binary=$1", "shift", "case $PWD in", *cases, "esac", 'exec "$binary" "-test.run=^($tests)\\$" "$@"', "")
    return "\n".join(lines).encode()


def _filters(group: Group) -> tuple[Sequence[str], Callable[[str], bool]]:
    """What a group's filters mean: packages, and which of their tests.

    Raises:
        DiscoveryError: something in them is no filter.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-run", "--run", default=".")
    parser.add_argument("-skip", "--skip", default="")
    parser.add_argument("packages", nargs="*")
    try:
        found, unknown = parser.parse_known_args(group.filters)
    except argparse.ArgumentError as error:
        raise DiscoveryError(f"the filters of group '{group.name}': {error}. {_HOW}") from error
    if unknown:
        raise DiscoveryError(f"the filters of group '{group.name}': {shlex.join(unknown)}: {_HOW}")
    run = _regex(group, found.run)
    skip = _regex(group, found.skip) if found.skip else None
    return found.packages, lambda name: bool(run.search(name)) and not (skip and skip.search(name))


def _regex(group: Group, text: str) -> re.Pattern[str]:
    """Go's syntax and Python's are the same for all that names of tests need."""
    if "/" in text:
        raise DiscoveryError(f"the filters of group '{group.name}': {text}: a subtest runs with its test, not alone")
    try:
        with warnings.catch_warnings(action="error", category=FutureWarning):
            return re.compile(text)
    except (re.error, FutureWarning) as error:
        raise DiscoveryError(f"the filters of group '{group.name}': {text}: {error}") from error


def _may_hold(path: str, group: Group, launch: Launch) -> bool:
    """Whether a package can have tests that were asked for."""
    if is_selected(group, launch, path, path):
        return True
    for one in group.select:
        package, _, name = one.rpartition(".")
        found = _NAME.fullmatch(name)
        is_test = found is not None and not found[2][:1].islower()  # Go asks for that
        if is_test and (is_asked(path, path, (package,), Path(launch.root)) if package else path == "."):
            return True
    return False
