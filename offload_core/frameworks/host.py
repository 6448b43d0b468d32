"""Commands on the host itself: where discovery runs unless the configuration says otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..abc import Command, Exit, PipeReader, PipeWriter, Process, Upload, kill_command, mark_of
from ..abc._process import KILL_TIMEOUT_SECS
from ..errors import ConnectionLost, ExecFailed, UploadFailed


class HostExecutor:
    """An `Executor` whose commands are children of this process, each in a session of its own.

    When Offload runs from a virtual environment that is not activated (`/venv/bin/offload run`), that environment's
    programs come first in PATH, so that `python` means what it would if it were.
    """

    async def exec(self, command: Command) -> HostProcess:
        """Start a command.

        Raises:
            ExecFailed: there is no such program or directory.
        """
        (stdin, write), (stdout_read, stdout), (stderr_read, stderr) = os.pipe(), os.pipe(), os.pipe()
        pipes = PipeWriter(write), PipeReader(stdout_read), PipeReader(stderr_read)
        try:
            transport, protocol = await asyncio.get_running_loop().subprocess_exec(
                _Exit,
                *command.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=command.cwd,
                env={**host_environment(), **command.env},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ExecFailed(f"cannot start {command.argv[0]!r}: {error}", operation="exec") from error
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        return HostProcess(command, transport, protocol, pipes)

    async def upload(self, files: Sequence[Upload]) -> None:
        """Copy files; each appears whole or not at all.

        Raises:
            UploadFailed: one could not be written.
        """
        try:
            for file in files:
                await asyncio.to_thread(_copy, file)
        except OSError as error:
            raise UploadFailed(str(error), operation="upload") from error


def host_environment() -> dict[str, str]:
    """This process's environment, with the programs of its own virtual environment in PATH even if not activated."""
    env = dict(os.environ)
    if sys.prefix != sys.base_prefix and "VIRTUAL_ENV" not in env:
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    return env


def _copy(file: Upload) -> None:
    target = Path(file.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file.source, Path) and file.source.is_dir():
        shutil.copytree(file.source, target, symlinks=True, dirs_exist_ok=True)
        return
    data = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
    mode = file.mode if isinstance(file.source, bytes) else file.source.stat().st_mode & 0o777
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        try:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            Path(out.name).replace(target)
        except BaseException:
            Path(out.name).unlink()
            raise


class _Exit(asyncio.SubprocessProtocol):
    """Knows the exit of the process, whoever still holds its pipes."""

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def process_exited(self) -> None:
        assert self._transport is not None  # made before anything else happens
        self._transport.close()
        self.exited.set()


class HostProcess(Process):
    """A child process."""

    def __init__(
        self,
        command: Command,
        transport: asyncio.SubprocessTransport,
        protocol: _Exit,
        pipes: tuple[PipeWriter, PipeReader, PipeReader],
    ) -> None:
        self.command = command
        self.pid = transport.get_pid()
        self._transport = transport
        self._protocol = protocol
        self._stdin, self.stdout, self.stderr = pipes

    async def write(self, data: bytes) -> None:
        """Send to standard input, waiting for room."""
        try:
            await self._stdin.write(data)
        except BrokenPipeError as error:
            raise ConnectionLost("the process has closed its standard input", operation="write") from error

    async def close_stdin(self) -> None:
        """Close standard input, after what was written."""
        await self._stdin.close()

    async def wait(self) -> Exit:
        """Wait for the process, not for its descendants."""
        await self._protocol.exited.wait()
        code = self._transport.get_returncode()
        assert code is not None  # it has exited
        return Exit(signal=-code) if code < 0 else Exit(code=code)

    async def kill(self) -> None:
        """End the process, its group, and what else carries its mark."""
        if not self._protocol.exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        mark = mark_of(self.command)
        if mark is not None and sys.platform == "linux":  # the sweep needs /proc
            await _sweep(mark)
        await self._protocol.exited.wait()


async def _sweep(mark: str) -> None:
    """Kill descendants that have left the group."""
    process = await asyncio.create_subprocess_exec(
        *kill_command(mark).argv,
        cwd=PurePosixPath("/"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(KILL_TIMEOUT_SECS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
