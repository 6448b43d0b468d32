"""A command-line tool at work, on the host or in a sandbox: its output as lines, its end as it was seen from inside.

A backend can report a clean end, or none, for a process whose sandbox is dead. So the tool runs under a shell that
says last, behind a random token, how it ended; without that line, its end was not seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shlex
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Self

from attrs import evolve, frozen

from ..abc import ByteStream, Command, Exit, Finding, Health, Launch, Process, Severity
from ..errors import DiscoveryError, ExecFailed, FrameworkError, OffloadError, ProviderError
from .output import Lines, Log, harmless

CHECK_SECS = 60.0
"""How long a tool may take to tell its version."""

_MAX_LINE_BYTES = 1 << 24  # a longer line of standard output comes in pieces
_GRACE_SECS = 2.0  # what a tool left running may hold on to its output for so long
_DRAIN_SECS = 0.25  # standard error may take so long to be read, once standard output is
_MAX_FILE_BYTES = 1 << 28
_SHOWN_LINES = 30

_TELL = """\
mkdir -p -- "${TMPDIR:-/tmp}"
"$@"
code=$?
printf '\\n%s %d\\n' "$0" "$code"
exit "$code"
"""


class ToolCrashed(FrameworkError):
    """A tool ended before its work, by a fault of what it ran as it seems."""


class ListingFailed(DiscoveryError):
    """A tool that was to list tests failed. Says `what` it could not do, and the last lines of what it `said`.

    Attributes:
        ended: how it ended.
    """

    def __init__(self, what: str, argv: Sequence[str], ended: Exit, said: str, remedy: str = "") -> None:
        shown = "\n".join(f"    {line}" for line in said.splitlines()[-_SHOWN_LINES:])
        how = Exit(ended.code, ended.signal)
        message = f"{what}: {how}\n  command: {shlex.join(argv)}\n  its last lines:\n{shown}"
        super().__init__(f"{message}\n  {remedy}" if remedy else message)
        self.ended = ended


class Tool:
    """A running command. Use it as a context manager: what still runs at the end of the block is killed.

    Read `lines` to their end, then `exit` says how it ended.

    Attributes:
        ended: how it ended, once `exit` has been called.
    """

    def __init__(self, launch: Launch, process: Process, token: str) -> None:
        self._process = process
        self._token = token.encode() + b" "
        self._chunks = aiter(process.stdout)
        self._told: Exit | None = None
        self.ended = Exit()
        self._log = Log(launch.log)
        self._errors = asyncio.create_task(self._log_errors(), name="tool output")
        self._end = asyncio.create_task(process.wait(), name="tool end")
        self._over = False

    @classmethod
    async def start(cls, launch: Launch, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Self:
        """Start a tool in the project's root, with standard input at its end.

        Raises:
            ProviderError: as `Executor.exec`. A program that is not there is no error here but exit code 127.
        """
        token = secrets.token_hex(12)
        process = await launch.executor.exec(project_command(launch, ("/bin/sh", "-c", _TELL, token, *argv), env or {}))
        tool = cls(launch, process, token)
        try:
            await process.close_stdin()
        except BaseException:
            await tool.__aexit__()
            raise
        return tool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if not self._over:
                await asyncio.shield(self.kill())
        finally:
            tasks = (self._errors, self._end)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Its sandbox is gone: there is nothing to kill any more."""
        self._over = True

    async def kill(self) -> None:
        """End it at once, with every process it started.

        Raises:
            ProviderError: as `Process.kill`.
        """
        self._over = True
        await self._process.kill()

    async def lines(self) -> AsyncIterator[bytes]:
        """Standard output, without line ends, until the tool ends: what it left running is not waited for.

        One empty line more comes at the end, in case the tool did not end its last one.
        Raises:
            SandboxDead, ConnectionLost: the stream broke.
        """
        lines = Lines(_MAX_LINE_BYTES)
        while chunk := await self._chunk():
            for line in lines.feed(chunk):
                if line.startswith(self._token):
                    code = int(line.removeprefix(self._token))
                    self._told = Exit(signal=code - 128) if 128 < code < 128 + 65 else Exit(code=code)
                    return
                yield line
            await asyncio.sleep(0)  # also if the stream never makes anybody wait
        for line in lines.end():
            yield line

    async def _chunk(self) -> bytes:
        """The next of standard output; empty at its end, or when the process has ended and no more comes."""
        coming = asyncio.ensure_future(anext(self._chunks, b""))
        waited: set[asyncio.Future[Any]] = {coming, self._end}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                await asyncio.wait({coming}, timeout=_GRACE_SECS)
            return coming.result() if coming.done() else b""
        finally:
            coming.cancel()

    async def exit(self) -> Exit:
        """How it ended. To be called after `lines` have ended.

        Raises:
            ToolCrashed: it was killed, with the shell around it. Or its sandbox died, and the backend does not know
                yet.
            SandboxDead, ConnectionLost: its end was not seen, and so says nothing of what it did.
        """
        await asyncio.wait({self._end, self._errors}, timeout=_GRACE_SECS if self._told else _DRAIN_SECS)
        if not (self._end.done() and self._errors.done()):
            await self.kill()  # what it left running holds on to it
        self._over = True
        if self._told is None:
            self.ended = await self._end
            raise ToolCrashed(f"\n{self.tail()}")
        self.ended = self._told
        return self._told

    def say(self, line: bytes) -> None:
        """Log a line of standard output that is nothing but output."""
        self._log.say(harmless(line))

    def tail(self) -> str:
        """The last lines that were logged, at most `TAIL_BYTES`."""
        return self._log.tail()

    async def _log_errors(self) -> None:
        with contextlib.suppress(ProviderError):  # whatever broke it breaks standard output, too
            await self._log.read(self._process.stderr)


def project_command(launch: Launch, argv: Sequence[str], env: Mapping[str, str]) -> Command:
    """A command in the project's root, with a place of the sandbox's own for temporary files."""
    return Command(argv=argv, cwd=launch.root, env={"TMPDIR": str(launch.scratch / "tmp"), **launch.env, **env})


async def run(launch: Launch, argv: Sequence[str]) -> Exit:
    """Run a tool to its end, with all that it says in the log, and the last of that in the second line of `reason` on.

    Raises:
        ProviderError, ToolCrashed: as `Tool`.
    """
    async with await Tool.start(launch, argv) as tool:
        async for line in tool.lines():
            tool.say(line)
        ended = await tool.exit()
        return evolve(ended, reason=f"\n{tool.tail()}" if tool.tail() else "")


async def read_file(launch: Launch, path: PurePosixPath) -> bytes | None:
    """A file that a tool wrote; None if there is none, or if it is longer than 256 MiB.

    Raises:
        SandboxDead, ConnectionLost: it could not be read.
        ToolCrashed: as `Tool.exit`.
    """
    async with await Tool.start(launch, ("cat", "--", str(path))) as cat:
        parts: list[bytes] = []
        size = 0
        async for line in cat.lines():
            size += len(line) + 1
            if size > _MAX_FILE_BYTES:
                return None
            parts.append(line)
        return b"\n".join(parts) if (await cat.exit()).ok else None


async def listing(
    launch: Launch, argv: Sequence[str], what: str, *, env: Mapping[str, str] | None = None
) -> ByteStream:
    """Run a tool that lists tests; its lines, as they come.

    Args:
        what: what is listed, for people: "the tests of group 'unit'".

    Raises:
        DiscoveryError: it could not be started, or was killed.
        ListingFailed: its exit code was not 0; says what it printed last.
    """
    try:
        tool = await Tool.start(launch, argv, env=env)
    except ExecFailed as error:
        raise DiscoveryError(f"{argv[0]!r} could not be started to list {what}: {error}") from error
    async with tool:
        last: deque[bytes] = deque(maxlen=20)
        async for line in tool.lines():
            last.append(line[:500])
            yield line
        try:
            ended = await tool.exit()
        except ToolCrashed as error:
            raise DiscoveryError(f"{argv[0]!r} could not list {what}: {error}") from error
    if not ended.ok:
        said = tool.tail() or "\n".join(map(harmless, last))
        raise ListingFailed(f"{argv[0]!r} could not list {what}", argv, ended, said)


async def version(launch: Launch, argv: Sequence[str]) -> str:
    """The first line that a command prints, which should be its version.

    Raises:
        DiscoveryError: it could not be run; says what it printed.
        ProviderError: as `Executor.exec`.
    """
    lines = [harmless(line) async for line in listing(launch, argv, "its version")]
    return next((line.strip() for line in lines if line.strip()), "")


@frozen
class Needed:
    """The oldest version of a tool that will do."""

    name: str
    pattern: str  # finds its version, with a group for each number
    oldest: tuple[int, ...]
    install: str  # what to do where it is not there

    def judge(self, said: str, remedy: str) -> Finding:
        """What the tool says of its version, and whether that is new enough."""
        found = re.search(self.pattern, said)
        if found is None:
            return Finding(Severity.ERROR, f"this does not look like {self.name}: {said[:200]}", remedy)
        if tuple(map(int, found.groups())) < self.oldest:
            oldest = ".".join(map(str, self.oldest))
            return Finding(Severity.ERROR, f"{said} is too old", f"install {self.name} {oldest} or newer")
        return Finding(Severity.OK, said)


async def checked(launch: Launch, argv: Sequence[str], needed: Needed | None = None) -> Health:
    """Whether a tool is there, as `Framework.check` wants it: its version, or what went wrong and what to do."""
    remedy = f"{needed.install if needed else f'install {argv[0]!r}'}, or correct `[framework] command`"
    try:
        async with asyncio.timeout(CHECK_SECS):
            said = await version(launch, argv)
            return Health((needed.judge(said, remedy) if needed else Finding(Severity.OK, said),))
    except TimeoutError:
        wrong = f"`{shlex.join(argv)}` did not end within {CHECK_SECS:g} s"
    except OffloadError as error:
        wrong = str(error)
    return Health((Finding(Severity.ERROR, wrong, remedy),))
