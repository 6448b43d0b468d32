"""One `cargo nextest run`: which tests it is given, and what becomes of them."""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ...abc import Exit, Test, Upload
from ...errors import FrameworkUnusable
from ..batch import Batch
from ..tool import Tool, ToolCrashed
from .catalogue import selector, test_name
from .stream import CANCELLED, Event, Status, event, outcome, status

BUILD_FAILED = 101

MAX_CHARS = 100_000
"""How long one expression may be: one argument of a program can have 128 KiB."""

_SPECIAL = re.compile(r"[^A-Za-z0-9_:.]")

# The expressions go by files, because a command that a provider is given must not be long. Standard error goes where
# standard output goes, which keeps the order of both.
_RUN = """\
for file in "$0"/*; do set -- "$@" -E "$(cat "$file")"; done
exec "$@" 2>&1
"""

_WORDS = (
    *("--no-fail-fast", "--run-ignored", "all", "--ignore-default-filter", "--color", "never"),
    *("--message-format", "libtest-json-plus", "--message-format-version", "0.1", "--status-level", "slow"),
    *("--final-status-level", "none", "--success-output", "never", "--failure-output", "never"),
    *("--show-progress", "none"),
)

_FROM_OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"})
"""What a test dies of, too, when its sandbox is ended."""

_OF_A_BINARY = {
    94: "nextest does not know its binary there",
    BUILD_FAILED: "it does not build there",
    104: "its binary does not list its tests there",
}
"""What can be the fault of one binary, and keeps nextest from running any."""
_KILLED = re.compile(r"\(signal: (9, SIGKILL|15, SIGTERM)")
"""What cargo says of a compiler that did not end by itself."""
_SETUP_SCRIPT_FAILED = 105
_RAN = (0, 4, 100)
_UNUSABLE = (2, 92, 95, 96, 102, 126, 127)
"""Wrong arguments, a wrong version, a wrong configuration, no manifest, no program."""


async def run(
    batch: Batch, tests: Mapping[str, Test], command: Sequence[str], run_args: Sequence[str], target: str = ""
) -> None:
    """Run tests of a batch in one process; or each binary's in one, if a binary keeps nextest from running any.

    Args:
        tests: by their names in nextest's events.
        command: `cargo nextest run`, and `run_args` more words for it, as they are configured.
        target: what is to be built; everything, if nothing is said.

    Raises:
        ToolCrashed, FrameworkUnusable: as `BatchFramework.run_batch`.
    """
    names: defaultdict[str, list[str]] = defaultdict(list)
    for test in tests.values():
        names[test.path].append(test_name(test))
    directory = batch.directory / secrets.token_hex(4)
    files = [Upload(text.encode(), directory / f"{number:06}") for number, text in enumerate(expressions(names))]
    await batch.launch.executor.upload(files)
    argv = ("/bin/sh", "-c", _RUN, str(directory), *command, *filter(None, [target]), *_WORDS, *run_args)
    async with await batch.start(argv, env={"NEXTEST_EXPERIMENTAL_LIBTEST_JSON": "1"}) as tool:
        ended, cancelled = await _follow(batch, tests, tool)
    left = [test.id for test in tests.values() if test.id in batch.left]
    if not left:
        return
    if ended.code in _OF_A_BINARY and not target:
        for binary in names:
            its = {name: test for name, test in tests.items() if test.path == binary}
            await run(batch, its, command, run_args, selector(binary))
        return
    if ended.code in _UNUSABLE:
        raise FrameworkUnusable(f"nextest cannot run as it is configured: {ended}: {_error(tool)}")
    if cancelled or ended.code not in (*_RAN, *_OF_A_BINARY, _SETUP_SCRIPT_FAILED):
        raise ToolCrashed(f"{'it was told to end' if cancelled else ''}\n{tool.tail()}")
    if ended.code == BUILD_FAILED and _KILLED.search(tool.tail()):
        raise ToolCrashed(f"the build was killed\n{tool.tail()}")
    batch.unreported(_why(ended, tool), tool.tail(), ids=left)


async def _follow(batch: Batch, tests: Mapping[str, Test], tool: Tool) -> tuple[Exit, bool]:
    """Tell the batch what happens. Returns how it ended, and whether it was told to."""
    told: dict[str, Status] = {}
    later: list[tuple[Event, Test, int]] = []
    cancelled = False
    async for raw in tool.lines():
        line = raw.decode(errors="replace")
        if (found := event(line)) is None:
            if (how := status(line)) is not None:
                told[how.id] = how
            cancelled = cancelled or CANCELLED.fullmatch(line) is not None
            if not line.startswith('{"type":"suite"'):
                tool.say(raw)
            continue
        test, attempts = next(((tests[name], count) for name, count in found.names if name in tests), (None, 0))
        if test is None:
            batch.launch.log(f"nextest tells of a test that it was not asked for: {found.names[0][0]}")
        elif found.kind == "started":
            batch.began(test.id)
        elif test.id in told and told[test.id].died_of in _FROM_OUTSIDE:
            later.append((found, test, attempts))  # not the sandbox's end, if nextest itself comes to its own
        else:
            _finish(batch, found, test, attempts, told.get(test.id))
    ended = await tool.exit()
    if not cancelled:
        for found, test, attempts in later:
            _finish(batch, found, test, attempts, told.get(test.id))
    return ended, cancelled


def _finish(batch: Batch, event: Event, test: Test, attempts: int, told: Status | None) -> None:
    how, message = outcome(event, attempts, told)
    properties = (("nextest.attempts", str(attempts)),) if attempts > 1 else ()
    batch.finished(test.id, how, event.seconds, message=message, details=event.output, properties=properties)


def _why(ended: Exit, tool: Tool) -> str:
    """Why tests have no result, though nextest has come to its end."""
    if ended.code in _RAN:
        return "nextest finds no such test there: was it built from the same sources?"
    what = _OF_A_BINARY.get(ended.code or 0, "a setup script of nextest's configuration failed")
    return f"{what}: {_error(tool)}"


def _error(tool: Tool) -> str:
    """The line in which cargo or nextest says what is wrong; the rest is in the session's log."""
    lines = tool.tail().splitlines()
    return next((line for line in lines if line.startswith("error")), lines[-1] if lines else "it printed nothing")


def expressions(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Expressions of nextest's filterset language that together select these tests, by their binary, and no others."""
    for binary, tests in names.items():
        prefix = f"binary_id(={_quoted(binary)})&("
        part: list[str] = []
        size = 0
        for test in tests:
            matcher = f"test(={_quoted(test)})"
            if part and size + len(matcher) > MAX_CHARS:
                yield prefix + "|".join(part) + ")"
                part, size = [], 0
            part.append(matcher)
            size += len(matcher) + 1
        yield prefix + "|".join(part) + ")"


def _quoted(name: str) -> str:
    """Escaped so that nothing in it means anything."""
    return _SPECIAL.sub(lambda each: f"\\u{{{ord(each[0]):x}}}", name)
