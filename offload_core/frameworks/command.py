"""Any test tool: the user's own commands list the tests and run them."""

from __future__ import annotations

import difflib
import re
import shlex
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import PurePosixPath
from string import Formatter
from typing import Any, ClassVar

from attrs import NOTHING, frozen
from typing_extensions import override

from ..abc import Discovered, Group, Launch, Outcome, Section, key
from ..errors import DiscoveryError
from ..kit import JUnitCase, NotJUnit, read_junit
from .batch import Batch, BatchFramework, ToolCrashed
from .output import harmless
from .selection import is_selected
from .tool import Tool, listing, read_file, run

MAX_ID_CHARS = 30_000
"""How long the ids on one command line may be together: one argument of a program can have 128 KiB."""

_MAX_OUTPUT_BYTES = 1 << 20
_CANNOT_RUN = (126, 127)
"""What a shell exits with if a program is not there or is none."""


def _has_filters(instance: object, attribute: Any, value: str) -> None:
    if "{filters}" not in value:
        raise ValueError(f"'discover_command' must contain {{filters}}, which a group's filters replace: {value!r}")


def _has_tests(instance: object, attribute: Any, value: str) -> None:
    if "{tests}" not in value and "{tests_file}" not in value:
        raise ValueError(f"'run_command' must contain {{tests}} or {{tests_file}}: {value!r}")


def _is_id_format(instance: object, attribute: Any, value: str) -> None:
    try:
        names = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
    except ValueError as error:
        raise ValueError(f"'test_id_format': {error}: {value!r}") from None
    if not names or names - {"name", "classname"}:
        raise ValueError(f"'test_id_format' is made of {{name}} and {{classname}}: {value!r}")


@frozen(kw_only=True)
class CommandOptions:
    """`[framework] type = "default"`."""

    discover_command: str = key(
        NOTHING,
        "A shell command that prints one test id per line; `{filters}` is replaced by the group's filters. Blank "
        "lines and lines that begin with `#` are skipped.",
        example="ls tests/*.sh {filters}",
        validator=_has_filters,
    )
    run_command: str = key(
        NOTHING,
        "A shell command that runs tests. `{tests}` is replaced by their ids, each quoted; `{tests_file}` by the path "
        "of a file with one id per line, for batches of any length; `{result_file}` by the path where it has to write "
        "JUnit XML. Without a result file each test gets a process of its own, and its exit code counts.",
        example="sh {tests}",
        validator=_has_tests,
    )
    test_id_format: str = key(
        NOTHING,
        "How an id is made of the `{classname}` and `{name}` of a test case in the result file.",
        example="{name}",
        validator=_is_id_format,
    )
    result_file: str | None = key(
        None,
        "Where the run command writes JUnit XML, relative to where it starts. Only needed if it cannot be told a path "
        "by `{result_file}`.",
    )
    working_dir: str | None = key(None, "Where both commands start, relative to the project's root.")


class CommandFramework(BatchFramework[CommandOptions]):
    """Lists and runs tests with shell commands of the user."""

    Options = CommandOptions
    start_secs: ClassVar[float] = 0.5

    def __init__(self, options: CommandOptions) -> None:
        super().__init__(options)
        self.max_id_chars = MAX_ID_CHARS if "{tests}" in options.run_command else 0

    @override
    def version_command(self) -> Sequence[str]:
        """Nobody knows how to ask a command of the user: only that a shell starts is checked."""
        return ("/bin/sh", "-c", "echo 'commands of the configuration'")

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        """One test for each line; see `Framework.discover`. A line that comes twice is one test."""
        line = _filled(self.options.discover_command, {"filters": shlex.join(group.filters)})
        seen: set[str] = set()
        async for raw in listing(launch, self._shell(line), f"the tests of group '{group.name}'"):
            try:
                id = raw.decode().strip()
            except UnicodeDecodeError:
                raise DiscoveryError(f"a test id is not UTF-8: {harmless(raw[:200])}") from None
            if not id or id.startswith("#") or id in seen:
                continue
            if "\0" in id or len(raw) > MAX_ID_CHARS:
                raise DiscoveryError(
                    f"no command can be given the test id {harmless(raw[:60])}…: it has NUL in it, or is longer than "
                    f"{MAX_ID_CHARS:,} bytes. Is it one id per line that discover_command prints?"
                )
            seen.add(id)
            path = id.partition("::")[0]
            if is_selected(group, launch, id, path):
                yield group.test(id, path)

    @override
    async def run_batch(self, batch: Batch) -> None:
        """All tests by one command that reports, or each by a command of its own."""
        if self.options.result_file is not None or "{result_file}" in self.options.run_command:
            await self._with_report(batch)
        else:
            while batch.left:
                await self._by_exit_code(batch, next(iter(batch.left)))

    async def _with_report(self, batch: Batch) -> None:
        ids = tuple(batch.left)
        path = batch.directory / "results.xml"
        if self.options.result_file is not None:
            path = batch.launch.root / (self.options.working_dir or ".") / self.options.result_file
            # What an earlier batch wrote there is not this one's.
            await run(batch.launch, ("rm", "-f", "--", str(path)))
        tool, _, _ = await self._run(batch, ids, path)
        ended = tool.ended
        report = await read_file(batch.launch, path)
        if report is None and ended.code in _CANNOT_RUN:
            return batch.unreported(f"the run command cannot be run: {ended}", tool.tail())
        if report is None:
            raise ToolCrashed(f"the run command wrote no {path.name}\n{tool.tail()}")
        try:
            found = read_junit(report)
        except NotJUnit as error:
            if len(ids) == 1 and ended.signal is None:
                return batch.unreported(f"{path.name} of the run command is {error}", tool.tail())
            raise ToolCrashed(f"{path.name} of the run command is {error}\n{tool.tail()}") from error
        self._match(batch, found, killed=ended.signal is not None)
        if ended.signal is not None:
            tool.say(f"warning: the run command ended after its report: {ended}".encode())

    def _match(self, batch: Batch, found: Sequence[JUnitCase], *, killed: bool) -> None:
        """Give each test its result: the worst, if it has several. Names must be equal; nothing is guessed.

        Raises:
            ToolCrashed: it was killed before it came to some of them.
        """
        unknown: list[str] = []
        worst: dict[str, JUnitCase] = {}
        for case in found:
            id = self.options.test_id_format.format(name=case.name, classname=case.classname).strip()
            if id not in batch.left:
                unknown.append(id)
            elif id not in worst or case.outcome.bad > worst[id].outcome.bad:
                worst[id] = case
        for id, case in worst.items():
            seconds, message, details = case.seconds or 0.0, case.message, case.details
            batch.finished(id, case.outcome, seconds, message=message, details=details, output=case.output)
        if killed and batch.left:
            raise ToolCrashed("the run command ended before its report was complete")
        for id in tuple(batch.left):
            near = difflib.get_close_matches(id, unknown, n=3, cutoff=0.3)
            hint = f"; its nearest are {', '.join(map(repr, near))}: is `test_id_format` right?" if near else ""
            batch.finished(id, Outcome.ERROR, 0.0, message=f"the result file has no test case of this id{hint}")
        if unknown:
            batch.launch.log(f"results of tests that were not asked for: {', '.join(map(repr, unknown[:20]))}")

    async def _by_exit_code(self, batch: Batch, id: str) -> None:
        tool, said, seconds = await self._run(batch, (id,), batch.directory / "results.xml")
        ended = tool.ended
        if ended.signal is not None:
            raise ToolCrashed(f"\n{tool.tail()}")
        outcome, message = (Outcome.PASSED, "") if ended.ok else (Outcome.FAILED, str(ended))
        if ended.code in _CANNOT_RUN:
            outcome, message = Outcome.ERROR, f"the run command, or a program that it needs, cannot be run: {ended}"
        details = "" if ended.ok else tool.tail()
        output = (Section("Captured stdout", said.strip()),)
        batch.finished(id, outcome, seconds, message=message, details=details, output=output)

    async def _run(self, batch: Batch, ids: Iterable[str], result_file: PurePosixPath) -> tuple[Tool, str, float]:
        """Run tests by one command. Returns it, what it printed, as far as a result can hold that, and its seconds."""
        # Also makes the directory that the result file is written to.
        file = await batch.upload("tests.txt", "".join(f"{id}\n" for id in ids).encode())
        paths = {"result_file": shlex.quote(str(result_file)), "tests_file": shlex.quote(str(file))}
        command = _filled(self.options.run_command, {"tests": shlex.join(ids), **paths})
        said: list[str] = []
        size = 0
        async with await batch.start(self._shell(command)) as tool:
            batch.began(*ids)
            started = time.monotonic()
            async for line in tool.lines():
                tool.say(line)
                size += len(line)
                if size < _MAX_OUTPUT_BYTES:
                    said.append(harmless(line))
            await tool.exit()
        return tool, "\n".join(said), time.monotonic() - started

    def _shell(self, line: str) -> tuple[str, ...]:
        where = self.options.working_dir
        if where is None:
            return ("/bin/sh", "-c", line)
        return ("/bin/sh", "-c", 'cd -- "$0" && eval "$1"', where, line)


def _filled(command: str, values: dict[str, str]) -> str:
    """The command with its placeholders replaced, all at once: a value that looks like one stays what it is."""
    pattern = "|".join(rf"\{{{name}\}}" for name in values)
    return re.sub(pattern, lambda found: values[found.group()[1:-1]], command)
