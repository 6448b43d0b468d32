"""go test: one `go test -json` for each batch of a package's tests; results come as they happen.

Ids are `pkg/sub.TestName`: the package's directory in the project and the test; of the root package, the name alone.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from attrs import frozen

from ...abc import CollectionFailed, Discovered, Finding, Group, Health, Place, Severity, Test, Upload, key
from ...errors import DiscoveryError
from ..batch import Batch, BatchFramework
from ..output import harmless
from ..selection import is_asked
from ..tool import Tool, listing
from .stream import Builds, Event, Text, event, is_result, summary
from .verdicts import PackageRun

_OLDEST = (1, 20)
_MAX_ID_CHARS = 30_000
"""The names of a batch are one argument, which can have 128 KiB."""

_USE = re.compile(r"^use\s+(?:\(([^)]*)\)|(\S+))", re.MULTILINE)
_SELECTING = ("tags", "mod", "modfile", "overlay", "race", "msan", "asan")
"""The flags of `go test` that decide which files a package is made of."""
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


def _command(instance: object, attribute: Any, value: str) -> None:
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}: {value}") from None
    if attribute.name == "command" and not words:
        raise ValueError("command: empty; the default is `go`")


def _run_args(instance: object, attribute: Any, value: str) -> None:
    _command(instance, attribute, value)
    for word in shlex.split(value):
        if word in ("-args", "--args"):
            break
        flag = word.lstrip("-").partition("=")[0].removeprefix("test.")
        if word.startswith("-") and flag in _OURS:
            raise ValueError(f"run_args: -{flag} {_OURS[flag]}")


@frozen(kw_only=True)
class GoOptions:
    """`[framework] type = "go"`."""

    command: str = key("go", "How the go command is started, split as a shell would.", validator=_command)
    packages: tuple[str, ...] = key(("./...",), "The packages to test, as `go test` takes them, in the project's root.")
    run_args: str = key(
        "",
        "More arguments for `go test`, for listing and running alike, such as `-race` or `-tags integration`, split as "
        "a shell would. What follows `-args` goes to the test binaries.",
        validator=_run_args,
    )


@frozen(kw_only=True)
class _Package:
    """A package as `go list` knows it. `error`: why it could not be loaded; `path`: None if it is outside the root."""

    name: str
    path: str | None
    error: str


@frozen(kw_only=True)
class _Filters:
    packages: tuple[str, ...]
    run: str
    skip: str


class Go(BatchFramework[GoOptions]):
    """Lists and runs the tests, examples and fuzz seeds of Go packages, with Go 1.20 and newer."""

    Options = GoOptions
    start_secs: ClassVar[float] = 0.5
    one_module: ClassVar[bool] = True

    def __init__(self, options: GoOptions) -> None:
        super().__init__(options)
        self.max_id_chars = _MAX_ID_CHARS

    @classmethod
    def guess_options(cls, directory: Path) -> dict[str, Any]:
        """The modules of a workspace, where there is one: `./...` is not all of them."""
        try:
            work = (directory / "go.work").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
        work = re.sub(r"//.*", "", work)
        uses = [use for block, one in _USE.findall(work) for use in (block or one).split()]
        return {"packages": [f"{use.rstrip('/')}/..." for use in uses]} if uses else {}

    def version_command(self) -> Sequence[str]:
        """`go version`: also tells the toolchain that the project's go.mod selects."""
        return (*shlex.split(self.options.command), "version")

    async def check(self, place: Place) -> Health:
        """Is go there, and new enough?"""
        health = await super().check(place)
        said = health.findings[0].what
        number = re.search(r"\bgo(\d+)\.(\d+)", said)
        if health.ok and number and (int(number[1]), int(number[2])) < _OLDEST:
            return Health((Finding(Severity.ERROR, f"{said}: too old", "install Go 1.20 or newer"),))
        return health

    # -- discovery ------------------------------------------------------------------------------------------------

    async def discover(self, group: Group, place: Place) -> AsyncIterator[Discovered]:
        """List the tests of a group, package by package as they are built; see `Framework.discover`."""
        filters = _filters(group, self.options.packages)
        select = tuple(one.removesuffix("/...") for one in group.select)
        wanted: dict[str, _Package] = {}
        for package in await self._packages(place, filters.packages):
            if package.path is None:
                yield CollectionFailed(path=package.name, message=package.error)
            elif _may_hold(package.path, select, place.root):
                wanted[package.name] = package
        if not wanted:
            return
        lines = await self._lines(place, wanted.values())
        skipped: set[tuple[str, str]] = set()
        if filters.skip:
            async for name, found in self._list(place, wanted, filters.skip):
                skipped |= {(name, test) for test in found if isinstance(test, str)}
        async for name, found in self._list(place, wanted, filters.run):
            for each in found:
                if not isinstance(each, str):
                    yield each
                elif (name, each) not in skipped:
                    path = wanted[name].path or ""
                    test = _test(group, path, each, lines.get((path, each)))
                    if not select or is_asked(test.id, test.path, select, Path(place.root)):
                        yield test

    async def _packages(self, place: Place, patterns: Sequence[str]) -> list[_Package]:
        """The packages that have tests or cannot be loaded.

        Raises:
            DiscoveryError: go cannot list any; says what it printed.
        """
        fields = "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,Error"
        flags = _build_flags(shlex.split(self.options.run_args))
        argv = (*shlex.split(self.options.command), "list", "-e", fields, *flags, "--", *patterns)
        # Directories are then told as the root is, whatever links lead to it.
        env = {"PWD": str(place.root)}
        lines = [line async for line in listing(place, argv, "the packages", env=env)]
        return list(_listed(b"\n".join(lines).decode(errors="replace"), place.root))

    async def _lines(self, place: Place, packages: Iterable[_Package]) -> Mapping[tuple[str, str], tuple[str, int]]:
        """Where tests are defined, by package and name. Nobody depends on it: what is not found is not told."""
        globs = " ".join(f"./{shlex.quote(package.path or '')}/*_test.go" for package in packages)
        script = rf"printf '%s\0' {globs} | xargs -0 grep -HnsE '^func (Test|Example|Fuzz)' || :"
        found: dict[tuple[str, str], tuple[str, int]] = {}
        async with await _start(place, "lines", script.encode()) as tool:
            async for line in tool.lines():
                file, number, text = (*harmless(line).split(":", 2), "", "")[:3]
                name = _NAME.match(text.removeprefix("func "))
                if name and number.isdigit():
                    path = PurePosixPath(file)
                    found.setdefault((str(path.parent), name[0]), (str(path), int(number)))
            await tool.exit()
        return found

    async def _list(
        self, place: Place, packages: Mapping[str, _Package], regex: str
    ) -> AsyncIterator[tuple[str, list[str | CollectionFailed]]]:
        """The names of each package's tests that match, as soon as it is built; and what kept it from being listed.

        Raises:
            DiscoveryError: go did not come as far as any package, or did not come to its end.
        """
        builds = Builds()
        said: dict[str, Text] = {}
        found: dict[str, list[str | CollectionFailed]] = {}
        ended = 0
        script = self._go_test((f"-list={regex}",), tuple(packages))
        async with await _start(place, "list", script) as tool:
            async for line in tool.lines():
                each = event(line)
                if each is None:
                    builds.message(line)
                    tool.say(line)
                elif each.action.startswith("build-"):
                    builds.take(each)
                elif each.action == "output":
                    if _is_test(each.output.strip()):
                        found.setdefault(each.package, []).append(each.output.strip())
                    elif not is_result(each.output):
                        said.setdefault(each.package, Text()).add(each.output)
                elif each.action in ("pass", "fail", "skip") and each.package in packages:
                    ended += 1
                    names = found.pop(each.package, [])
                    if each.action == "fail":
                        names.append(_failed(packages[each.package], each, builds, said.get(each.package), tool.tail()))
                    yield each.package, names
            code = await tool.exit()
        if ended < len(packages) and not (code.ok or ended):
            raise DiscoveryError(f"`go test -list` failed: {code}\n{tool.tail()}")

    # -- running --------------------------------------------------------------------------------------------------

    async def run_batch(self, batch: Batch) -> None:
        """Tests of one package, in one process."""
        path = next(iter(batch.left.values())).path
        names = {id.rpartition(".")[2]: id for id in batch.left}
        batch.building(path)
        # The binary is kept, so that the next batch of this package finds it up to date; only one, for the space.
        binary = batch.place.scratch / "go.test"
        words = (
            f"-run=^({'|'.join(names)})$",
            "-count=1",
            "-timeout=0",
            "-failfast=false",
            "-vet=off",
            "-o",
            str(binary),
        )
        run = PackageRun(batch, names)
        file = await batch.upload("go.sh", self._go_test(words, (f"./{path}",)))
        async with await batch.start(("/bin/sh", str(file))) as tool:
            async for line in tool.lines():
                if not run.read(line):
                    tool.say(line)
            await tool.exit()
        run.end(tool.tail())

    def _go_test(self, words: Sequence[str], packages: Sequence[str]) -> bytes:
        """A script of `go test -json`, with what is said on standard error among the events, in order.

        It goes by file, because it can be longer than some backends let a command be.
        """
        argv = (*shlex.split(self.options.command), "test", "-json", *words, *packages)
        return f"exec {shlex.join((*argv, *shlex.split(self.options.run_args)))} 2>&1\n".encode()


async def _start(place: Place, name: str, script: bytes) -> Tool:
    file = place.scratch / f"{place.name}.{name}.sh"
    await place.executor.upload([Upload(script, file)])
    return await Tool.start(place, ("/bin/sh", str(file)))


def _filters(group: Group, packages: tuple[str, ...]) -> _Filters:
    """What a group's filters mean.

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
    for regex in (found.run, found.skip):
        if "/" in regex:
            raise DiscoveryError(
                f"the filters of group '{group.name}': {regex}: subtests run with their test, leave out `/`"
            )
    return _Filters(packages=tuple(found.packages) or packages, run=found.run, skip=found.skip)


def _build_flags(words: Sequence[str]) -> Iterator[str]:
    """Those of `run_args` that decide what there is to test."""
    rest = iter(words)
    for word in rest:
        if word in ("-args", "--args"):
            return
        flag, equals, _ = word.lstrip("-").partition("=")
        if word.startswith("-") and flag in _SELECTING:
            yield word
            if not equals and flag not in ("race", "msan", "asan"):
                yield from islice(rest, 1)


def _listed(text: str, root: PurePosixPath) -> Iterator[_Package]:
    """From the output of `go list -json`: JSON objects, one after the other."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            data, end = decoder.raw_decode(text, position)
        except ValueError as error:
            raise DiscoveryError(f"`go list` printed something else than JSON: {error}") from error
        position = text.find("{", end)
        wrong = str((data.get("Error") or {}).get("Err", ""))
        if not (wrong or data.get("TestGoFiles") or data.get("XTestGoFiles")):
            continue
        name, directory = str(data.get("ImportPath")), PurePosixPath(data.get("Dir") or "/")
        if directory.is_relative_to(root):
            yield _Package(name=name, path=str(directory.relative_to(root)), error=wrong)
        else:
            yield _Package(name=name, path=None, error=wrong or f"it is in {directory}, outside of the project")


def _may_hold(path: str, select: Sequence[str], root: PurePosixPath) -> bool:
    """Whether a package can have tests that were asked for."""
    if not select or is_asked(path, path, select, Path(root)):
        return True
    for one in select:
        package, _, test = one.rpartition(".")
        if _is_test(test) and (is_asked(path, path, (package,), Path(root)) if package else path == "."):
            return True
    return False


def _is_test(name: str) -> bool:
    """Whether Go takes a function of this name for a test: what follows the prefix must not be lower case."""
    found = _NAME.fullmatch(name)
    return found is not None and not found[2][:1].islower()


def _failed(package: _Package, last: Event, builds: Builds, said: Text | None, tail: str) -> CollectionFailed:
    details = builds.of(last.build, last.package) or str(said or tail)
    return CollectionFailed(path=package.path or package.name, message=summary(details), details=details)


def _test(group: Group, path: str, name: str, where: tuple[str, int] | None) -> Test:
    id = name if path == "." else f"{path}.{name}"
    file, line = where or (None, None)
    return Test(
        key=f"{group.name}:{id}",
        id=id,
        group=group.name,
        path=path,
        affinity=path,
        retries=group.retries,
        individual=group.individual,
        file=file,
        line=line,
    )
