"""A shell line at work on this machine: the near end of whatever it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from offload_core.abc import EXEC_MARK, Exit
from offload_core.kit import PipeWriter, inherited_environment

from ._sentinel import Errors

T = TypeVar("T")

_SWEEP_SECS = 10.0
_CHUNK = 1 << 16
_MAX_LAST_WORDS = 1 << 20


class Client:
    """A running shell line, in a session of its own.

    Attributes:
        stdin: None if it was started without.
        stdout, stderr: what it writes.
        ended: done when the process has ended, whoever still holds its streams.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        mark: str,
        stdin: PipeWriter | None,
        stdout: Output,
        stderr: Errors,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._process = process
        self._mark = mark
        self.ended = asyncio.create_task(process.wait(), name="command")

    @classmethod
    async def start(cls, line: str, cwd: Path, env: Mapping[str, str], *, stdin: bool) -> Client:
        """Start `sh -c line`. Not to be cancelled; see `Clients.start`."""
        mark = secrets.token_hex(8)
        taking, giving = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
        (out_read, out), (err_read, err) = os.pipe(), os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                line,
                stdin=taking,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env={**inherited_environment(), **env, EXEC_MARK: mark},
                start_new_session=True,
            )
        except BaseException:
            for fd in (giving, out_read, err_read):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in (taking, out, err):
                os.close(fd)
        writer = PipeWriter(giving) if stdin else None
        return cls(process, mark, writer, Output(out_read), Errors(err_read))

    async def wait(self) -> Exit:
        """How it ended. Cancelling the wait does nothing to it."""
        code = await asyncio.shield(self.ended)
        return Exit(signal=-code) if code < 0 else Exit(code)

    async def kill(self) -> None:
        """End it with all that can be found of what it started, and its streams with it. Idempotent."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.to_thread(_sweep, f"{EXEC_MARK}={self._mark}".encode())
        await asyncio.wait({self.ended})
        self.stdout.cut()
        await self.stderr.settle()
        await self.stderr.close()


class Clients:
    """All shell lines of one provider that run on this machine.

    Args:
        cwd: the directory that they start in.
    """

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._running: set[Client] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, line: str, env: Mapping[str, str] | None = None, *, stdin: bool = False) -> Client:
        """Start `sh -c line`.

        Raises:
            OSError, ValueError: it cannot be started: there is no such directory, it is too long, it holds a NUL.
        Cancelled, it is killed.
        """
        starting = self.keep(Client.start(line, self._cwd, env or {}, stdin=stdin))
        try:
            client = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self.finish(_end(starting))
            raise
        self._running.add(client)
        client.ended.add_done_callback(lambda _: self._running.discard(client))
        return client

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start something that `aclose` waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Bring something to its end, also if the caller is cancelled meanwhile."""
        await asyncio.wait({self.keep(work)})

    async def aclose(self) -> None:
        """Kill what still runs, and wait until nothing does."""
        while self._running or self._tasks:
            killing = [self.keep(client.kill()) for client in self._running]
            await asyncio.wait([*killing, *self._tasks])


async def _end(starting: asyncio.Task[Client]) -> None:
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().kill()


class Output(AsyncIterator[bytes]):
    """The reading end of a pipe, like `PipeReader`, which can be cut: something else may hold the other end open."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._closing = weakref.finalize(self, os.close, fd)
        self._ready: asyncio.Future[None] | None = None
        self._left: int | None = None

    def cut(self) -> None:
        """Let it end after what has been written."""
        if self._left is None:
            self._left = _MAX_LAST_WORDS
            self._wake()

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)  # whoever writes faster than anybody reads must not hold up everything else
        while self._closing.alive and (self._left is None or self._left > 0):
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                if self._left is not None:
                    break
                await self._readable()
                continue
            if not data:
                break
            if self._left is not None:
                self._left -= len(data)
            return data
        self._closing()
        raise StopAsyncIteration

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(self._fd, self._wake)
        try:
            await self._ready
        finally:
            loop.remove_reader(self._fd)

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


def _sweep(variable: bytes) -> None:
    """Kill what has left the group, by a variable of its environment. Where there is no /proc, nothing is found."""
    deadline = time.monotonic() + _SWEEP_SECS
    while time.monotonic() < deadline:  # what forks while it dies can slip through one look
        found = [pid for pid in _processes() if _has(pid, variable)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.01)


def _processes() -> list[int]:
    try:
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    except OSError:
        return []


def _has(pid: int, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")  # one that has ended has none
    except OSError:
        return False
