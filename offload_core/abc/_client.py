"""A command that is a process of this machine, or that one speaks for: for backends that have a program for that."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Self

from ..errors import ConnectionLost, ExecFailed
from ._pipes import PipeReader, PipeWriter
from ._process import Command, Exit, Process

if TYPE_CHECKING:
    from ._sandbox import Sandbox


class ClientProcess(Process):
    """A command that is a process of this machine, or that one speaks for: `docker exec`, `nsenter`, `kubectl exec`.

    `client` is that process. Its exit is taken for the command's: if a client can end for reasons of its own, override
    `wait`.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        command: Command,
        client: asyncio.subprocess.Process,
        pipes: tuple[PipeWriter, PipeReader, PipeReader],
    ) -> None:
        super().__init__(sandbox, command)
        self.client = client
        self._stdin, self.stdout, self.stderr = pipes

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
        """Start a process here, in a session of its own, connected to nothing but pipes.

        Args:
            argv: what to run for `command`; `command.argv` itself, if the command is to be a process of this machine.
            env: its whole environment; None for Offload's own.
            cwd: a directory of this machine.

        Raises:
            ExecFailed: there is no such program or directory.
        Cancelled, what was started is killed, with what it has started in the sandbox.
        """
        starting = asyncio.ensure_future(cls._start(sandbox, command, argv, env, cwd))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait({starting})
            if not starting.cancelled() and not starting.exception():
                await starting.result().abandon()
            raise

    @classmethod
    async def _start(
        cls,
        sandbox: Sandbox,
        command: Command,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: PurePath | None,
    ) -> Self:
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe()
            stdin, ours_in, ours_out, stdout, ours_err, stderr = pipes
            client = await asyncio.create_subprocess_exec(
                *argv, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
            )
        except BaseException as error:
            _close(pipes)
            if not isinstance(error, OSError):
                raise
            raise ExecFailed(f"{argv[0]}: {error}", operation="exec", sandbox=sandbox.ref.id) from error
        _close((stdin, stdout, stderr))
        return cls(sandbox, command, client, (PipeWriter(ours_in), PipeReader(ours_out), PipeReader(ours_err)))

    async def write(self, data: bytes) -> None:
        """As the contract says."""
        try:
            await self._stdin.write(data)
        except BrokenPipeError as error:
            raise ConnectionLost("nobody reads it any more", operation="write", sandbox=self.sandbox.ref.id) from error

    async def close_stdin(self) -> None:
        """As the contract says."""
        await self._stdin.close()

    async def wait(self) -> Exit:
        """As the contract says; how the client ended."""
        code = await self.client.wait()
        return Exit(signal=-code) if code < 0 else Exit(code)

    async def kill(self) -> None:
        """As the contract says: first the client, which then starts nothing more, then what it has started."""
        with contextlib.suppress(ProcessLookupError):
            self.client.kill()
        await super().kill()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
