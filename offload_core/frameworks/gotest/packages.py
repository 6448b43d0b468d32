"""Which tests there are: go's own list of each package, without compiling it.

`go list -test` writes the main program of each package's test binary, in which the tests stand that `go test` would
run: https://pkg.go.dev/cmd/go#hdr-List_packages_or_modules says so of the flag.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from attrs import define, field

from ...abc import Launch, Upload
from ...errors import DiscoveryError
from ..output import harmless
from ..tool import Tool, listing

_FIELDS = "-json=ImportPath,Dir,GoFiles,Error,DepsErrors"
_SELECTING = ("tags", "mod", "modfile", "overlay")
_SWITCHES = ("race", "msan", "asan")
"""The flags of `go test` that decide which files a package is made of; these have no value."""

_TESTS = "var tests = []testing.InternalTest{"
_ENTRY = re.compile(r'\t\{"((?:Test|Example|Fuzz)\w*)", _x?test\.')
_DEFINITION = re.compile(r"func ((?:Test|Example|Fuzz)\w*)\(")
_GREP = r"""printf '%s\0' FILES | xargs -0 grep -HnsE '^([[:space:]]+\{"|var tests = |func (Test|Example|Fuzz))'"""


@define(kw_only=True)
class Package:
    """A package that has tests, or that cannot be loaded."""

    name: str  # its import path
    path: str  # its directory in the project's root; the import path, if it is not there
    error: str = ""  # why it cannot be loaded
    main: str = ""  # the file with the main program of its test binary
    tests: dict[str, tuple[str, int] | None] = field(factory=dict)  # where each is defined, by its name, if known


async def list_packages(
    launch: Launch, go: Sequence[str], run_args: Sequence[str], patterns: Sequence[str]
) -> list[Package]:
    """The packages that have tests, without their tests, and those that cannot be loaded; `run_args` of `go test`.

    Raises:
        DiscoveryError: go cannot list any; says what it printed.
    """
    argv = (*go, "list", "-e", "-test", _FIELDS, *_selecting(run_args), "--", *patterns)
    # Directories are then told as the root is, whatever links lead to it.
    lines = [line async for line in listing(launch, argv, "the packages", env={"PWD": str(launch.root)})]
    found: dict[str, Package] = {}
    for each in _objects(b"\n".join(lines).decode(errors="replace")):
        _merge(found, each, launch.root)
    return [package for package in found.values() if package.error or package.main]


async def read_tests(launch: Launch, packages: Iterable[Package]) -> None:
    """Fill in the tests of packages.

    Raises:
        DiscoveryError: this go writes them in a way that is not known.
    """
    mains = {package.main: package for package in packages}
    if not mains:
        return
    files = " ".join([*map(shlex.quote, mains), *(f"./{shlex.quote(each.path)}/*_test.go" for each in mains.values())])
    script = launch.scratch / f"{launch.name}.tests.sh"
    await launch.executor.upload([Upload(_GREP.replace("FILES", files).encode(), script)])
    known: set[str] = set()
    defined: dict[tuple[str, str], tuple[str, int]] = {}
    async with await Tool.start(launch, ("/bin/sh", str(script))) as tool:
        async for line in tool.lines():
            file, number, text = (*line.decode(errors="replace").split(":", 2), "", "")[:3]
            if (package := mains.get(file)) is not None:
                known |= {file} if text.startswith(_TESTS) else set()
                if entry := _ENTRY.match(text):
                    package.tests[entry[1]] = None
            elif (found := _DEFINITION.match(text)) and number.isdigit():
                path = PurePosixPath(file)
                defined.setdefault((str(path.parent), found[1]), (harmless(str(path).encode()), int(number)))
        await tool.exit()
    for main, package in mains.items():
        if main not in known:
            raise DiscoveryError(f"go's list of the tests of {package.path} is not understood: {main}\n{tool.tail()}")
        package.tests = {name: defined.get((package.path, name)) for name in package.tests}


def _selecting(words: Sequence[str]) -> Iterator[str]:
    """Those of `run_args` that decide what there is to test."""
    rest = iter(words)
    for word in rest:
        if word in ("-args", "--args"):
            return
        flag, equals, _ = word.lstrip("-").partition("=")
        if word.startswith("-") and flag in (*_SELECTING, *_SWITCHES):
            yield word
            if not equals and flag in _SELECTING:
                yield from islice(rest, 1)


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """From the output of `go list -json`: JSON objects, one after the other."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            data, end = decoder.raw_decode(text, position)
        except ValueError as error:
            raise DiscoveryError(f"`go list` printed something else than JSON: {error}") from error
        yield data
        position = text.find("{", end)


def _merge(found: dict[str, Package], data: Mapping[str, Any], root: PurePosixPath) -> None:
    """A package, or its variant for tests, or the main program of its test binary, which come in this order."""
    name, _, variant = str(data.get("ImportPath")).partition(" ")
    if variant:
        return
    files = data.get("GoFiles") or []
    is_main = name.endswith(".test") and len(files) == 1 and PurePosixPath(files[0]).is_absolute()
    if not is_main:
        directory = PurePosixPath(data.get("Dir") or root)
        inside = directory.is_relative_to(root) and "Dir" in data
        package = found[name] = Package(name=name, path=str(directory.relative_to(root)) if inside else name)
        package.error = _error(data.get("Error"))
        if not inside and not package.error:
            package.error = f"{directory} is outside of the project"
    elif (tested := found.get(name.removesuffix(".test"))) is not None and not tested.error:
        tested.main = files[0]
        tested.error = _error(data.get("Error")) or "\n".join(map(_error, data.get("DepsErrors") or []))


def _error(data: Mapping[str, Any] | None) -> str:
    """`file:line:column: what is wrong`."""
    return ": ".join(str(data[key]) for key in ("Pos", "Err") if data.get(key)) if data else ""
