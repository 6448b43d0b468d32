"""Commands that are processes of this machine, or that one speaks for; and what they inherit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Self

from typing_extensions import override

from ..abc import Command, Exit, Process, Sandbox
from ..errors import ConnectionLost, ExecFailed
from ._launcher import KILL_SECS, kill_command
from ._pipes import PipeReader, Pipes, open_pipes
from ._shell import ShellProcess
from ._tasks import BackgroundTasks

_CONFIGURATION = re.compile(r"OFFLOAD_.*__.*")


def inherited_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for commands that run beside Offload: Offload's own, without its configuration.

    `OFFLOAD_<TABLE>__<KEY>` configures this run, not one that a test starts. If Offload runs in a virtual environment
    that nobody activated, its programs come first in PATH, so that `python` is the one it was installed for.
    """
    kept = {key: value for key, value in environment.items() if not _CONFIGURATION.fullmatch(key)}
    if sys.prefix != sys.base_prefix and "VIRTUAL_ENV" not in kept:
        programs = str(Path(sys.executable).parent)
        kept["PATH"] = os.pathsep.join(path for path in (programs, kept.get("PATH", os.defpath)) if path)
    return kept


class PipedProcess(Process):
    """A process whose three streams are pipes of this machine: see `open_pipes`."""

    stdout: PipeReader
    stderr: PipeReader

    def __init__(self, command: Command, pipes: Pipes) -> None:
        super().__init__(command)
        self._stdin, self.stdout, self.stderr = pipes

    @override
    async def write(self, data: bytes) -> None:
        try:
            await self._stdin.write(data)
        except BrokenPipeError as error:
            raise ConnectionLost("the process has closed its standard input", operation="write") from error

    @override
    async def close_stdin(self) -> None:
        await self._stdin.close()


class HostProcess(PipedProcess):
    """A process of this machine, in a session of its own, connected to nothing but pipes.

    Attributes:
        pid: its id, and that of its process group.
        ended: done when it has ended, whoever still holds its pipes.
    """

    def __init__(self, command: Command, process: asyncio.subprocess.Process, pipes: Pipes) -> None:
        super().__init__(command, pipes)
        self.pid = process.pid
        self.ended = asyncio.create_task(process.wait(), name=f"end of process {process.pid}")

    @classmethod
    async def start(
        cls, command: Command, *, env: Mapping[str, str] | None = None, cwd: PurePath | None = None, stdin: bool = True
    ) -> Self:
        """Start a process.

        Args:
            env: what the command's own variables are added to; None for what commands inherit of Offload.
            cwd: where the command starts that does not say so itself.
            stdin: whether it gets standard input; else that is empty, and nothing can be written.

        Raises:
            ExecFailed: there is no such program or directory, or it cannot be started.

        Cancelled, what was started is killed.
        """

        async def start() -> Self:
            theirs: tuple[int, ...] = ()
            try:
                ours, theirs = open_pipes()
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    env={**(inherited_environment() if env is None else env), **command.env},
                    cwd=command.cwd or cwd,
                    stdin=theirs[0] if stdin else asyncio.subprocess.DEVNULL,
                    stdout=theirs[1],
                    stderr=theirs[2],
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise ExecFailed(f"cannot start {command.argv[0]!r}: {error}", operation="exec") from error
            finally:
                for end in theirs:
                    os.close(end)
            return cls(command, process, ours)

        return await BackgroundTasks().make(start(), cls.kill, wait=True)

    @override
    async def wait(self) -> Exit:
        """Wait for the process, not for its descendants."""
        code = await asyncio.shield(self.ended)
        return Exit(signal=-code) if code < 0 else Exit(code)

    @override
    async def kill(self) -> None:
        """End its group, and whatever else carries its mark on this machine. Its streams end, whoever holds them."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        if self.command.mark is not None and sys.platform == "linux":  # it is looked up under /proc
            await _sweep(self.command.mark)
        await asyncio.wait({self.ended})
        self.stdout.cut()
        self.stderr.cut()


class ClientProcess(ShellProcess):
    """A command in a sandbox that a process of this machine speaks for: `docker exec`, `nsenter`, `kubectl exec`.

    `client` is that process. Its exit is taken for the command's: if a client can end for reasons of its own, override
    `wait`.
    """

    def __init__(self, sandbox: Sandbox, command: Command, client: HostProcess) -> None:
        super().__init__(sandbox, command)
        self.client = client
        self.stdout, self.stderr = client.stdout, client.stderr

    @classmethod
    async def start(
        cls,
        sandbox: Sandbox,
        command: Command,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: PurePath | None = None,
    ) -> Self:
        """Start a client.

        Args:
            argv: what to run for `command`; `command.argv` itself, if the command is to be a process of this machine.
            env: the client's whole environment; None for what commands inherit of Offload.

        Raises:
            ExecFailed: there is no such program or directory.

        Cancelled, what was started is killed, with what it has started in the sandbox.
        """

        async def start() -> Self:
            try:
                client = await HostProcess.start(Command(argv=argv), env=env, cwd=cwd)
            except ExecFailed as error:
                error.sandbox = sandbox.ref.id
                raise
            return cls(sandbox, command, client)

        return await BackgroundTasks().make(start(), cls.abandon, wait=True)

    @override
    async def write(self, data: bytes) -> None:
        try:
            await self.client.write(data)
        except ConnectionLost as error:
            error.sandbox = self.sandbox.ref.id
            raise

    @override
    async def close_stdin(self) -> None:
        await self.client.close_stdin()

    @override
    async def wait(self) -> Exit:
        return await self.client.wait()

    @override
    async def kill(self) -> None:
        """First the client, which then starts nothing more, then what it has started."""
        await self.client.kill()
        await super().kill()


async def _sweep(mark: str) -> None:
    """Kill descendants that have left the group."""
    nothing = asyncio.subprocess.DEVNULL
    argv = kill_command(mark).argv
    killer = await asyncio.create_subprocess_exec(
        *argv, cwd="/", stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    try:
        async with asyncio.timeout(KILL_SECS):
            await killer.wait()
    except TimeoutError:
        killer.kill()
        await killer.wait()
