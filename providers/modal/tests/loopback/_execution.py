"""A command that runs in a jail."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from ._pipes import Input, Output, ended


class Execution:
    """A command that runs, or ran, in a jail."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], timeout: float | None) -> None:
        pipes = [os.pipe() for _ in range(3)]
        self._process = subprocess.Popen(
            argv,
            executable=shutil.which("nsenter"),
            env=dict(env),
            stdin=pipes[0][0],
            stdout=pipes[1][1],
            stderr=pipes[2][1],
            start_new_session=True,
        )
        for fd in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(fd)
        self.stdin = Input(pipes[0][1])
        self.stdout, self.stderr = Output(), Output()
        self.stdout.attach(pipes[1][0])
        self.stderr.attach(pipes[2][0])
        self._ended = asyncio.create_task(self._wait())
        self._timer = asyncio.get_running_loop().call_later(timeout, self.kill) if timeout else None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """The exit code when it has ended; negative for a signal."""
        return await asyncio.shield(self._ended)

    async def text(self) -> bytes:
        """All of its output, then all of its errors, when both have ended."""
        said = b""
        for output in (self.stdout, self.stderr):
            offset = 0
            while chunk := await output.read(offset):
                offset += len(chunk)
                said += chunk
        return said

    def kill(self) -> None:
        """Kill the command and what it started, as far as that stayed in its session."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it and let go of its pipes."""
        self.kill()
        await self._ended
        self.stdin.close()
        self.stdout.end()
        self.stderr.end()

    async def _wait(self) -> int:
        await ended(self._process.pid)
        if self._timer is not None:
            self._timer.cancel()
        self.stdin.close()
        return self._process.wait()
