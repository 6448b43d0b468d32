"""A command, the process it becomes in a sandbox, and how that ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal as signals
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from attrs import field, frozen
from typing_extensions import override

from ..errors import ConnectionLost, ProviderError

ByteStream = AsyncIterator[bytes]
"""Chunks of any size, none empty. Its end proves nothing: the process closed its side, or the sandbox is gone."""

EXEC_MARK = "OFFLOAD_EXEC"
"""The environment variable that carries a command's mark. Descendants inherit it, so that they can be found."""


def _argv(value: Sequence[str]) -> tuple[str, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Command:
    """What to run: an argument list, never a shell line.

    Attributes:
        argv: program and arguments, any Unicode but NUL.
        cwd: absolute directory in the sandbox; None for the sandbox's own.
        env: added to the sandbox's environment.
        timeout: seconds after which the caller kills it; a provider may hand it on as a backstop. None: no limit.
    """

    argv: tuple[str, ...] = field(converter=_argv)
    cwd: PurePosixPath | None = None
    env: Mapping[str, str] = field(factory=dict)
    timeout: float | None = None

    @property
    def mark(self) -> str | None:
        """What its process and all its descendants carry in their environment; None for one that kills others."""
        return self.env.get(EXEC_MARK)


@frozen
class Exit:
    """How a process ended: by exit code, by signal, or (both None) in a way the backend cannot tell.

    `reason` adds what else is known, such as "out of memory"; from its second line on, the last of the output.
    """

    code: int | None = None
    signal: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it exited with code 0."""
        return self.code == 0

    @override
    def __str__(self) -> str:
        if self.signal is not None:
            try:
                ended = f"killed by {signals.Signals(self.signal).name}"
            except ValueError:
                ended = f"killed by signal {self.signal}"
        elif self.code is not None:
            ended = f"exit code {self.code}"
        else:
            ended = "ended in an unknown way"
        first, newline, output = self.reason.partition("\n")
        return f"{ended}{': ' if first else ''}{first}{newline}{output}"


@frozen
class Completed:
    """A finished command with everything it wrote."""

    exit: Exit
    stdout: bytes
    stderr: bytes


class Process(ABC):
    """A running command. Both streams must be read, or the process stops when its buffers are full.

    A provider holds at most 1 MiB of each stream that nobody has read, then stops reading from its backend.
    """

    stdout: ByteStream
    stderr: ByteStream

    def __init__(self, command: Command) -> None:
        self.command = command

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send to the process's standard input; returns when the backend has taken it (back-pressure).

        Raises:
            ConnectionLost: the process closed its input, or the connection broke.
            SandboxDead: the sandbox is dead.
        Cancelled, part of the data may have been sent.
        """

    @abstractmethod
    async def close_stdin(self) -> None:
        """Close standard input. Idempotent; no error if the process is gone."""

    @abstractmethod
    async def wait(self) -> Exit:
        """Wait for the end, as often as wanted. Cancelling the wait does nothing to the process.

        Raises:
            SandboxDead, ConnectionLost: the end could not be observed.
        """

    @abstractmethod
    async def kill(self) -> None:
        """End the process and all its descendants *inside the sandbox*, at once. Idempotent.

        Parents end before their children: a test must not see its child die, go on, and pass.
        Where that cannot be done, or nobody knows whether it was, the sandbox is terminated instead.

        Raises:
            ProviderError: something may run on.
        """

    async def communicate(
        self, stdin: Iterable[bytes] = (), *, keep: Callable[[bytes], object] | None = None
    ) -> Completed:
        """Send all of `stdin`, close it, and return what the process wrote until its end. Not to be overridden.

        A process that closes its standard input early does no harm. Cancelled, or failing, the process goes on.

        Args:
            keep: is called with each chunk of standard output, which is then not returned.

        Raises:
            SandboxDead, ConnectionLost: the end could not be observed.
        """
        out, err = bytearray(), bytearray()
        reading = (_read(self.stdout, keep or out.extend), _read(self.stderr, err.extend))
        outputs = [asyncio.create_task(each) for each in reading]
        try:
            with contextlib.suppress(ConnectionLost):
                for chunk in stdin:
                    await self.write(chunk)
            await self.close_stdin()
            for output in outputs:
                await output
            return Completed(await self.wait(), bytes(out), bytes(err))
        finally:
            for output in outputs:
                output.cancel()
            await asyncio.gather(*outputs, return_exceptions=True)  # every outcome is looked at: nobody is warned

    async def abandon(self) -> None:
        """Kill it because of an error that is to be raised: whatever comes of the kill does not replace that error.

        A command without a mark is left alone: the core starts none but those that kill, and these end by themselves.
        """
        if self.command.mark is None:
            return
        with contextlib.suppress(ProviderError):
            await asyncio.shield(self.kill())


async def _read(stream: ByteStream, keep: Callable[[bytes], object]) -> None:
    async for chunk in stream:
        keep(chunk)
