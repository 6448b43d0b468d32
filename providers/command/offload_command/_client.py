"""A shell line at work on this machine: the near end of whatever it talks to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from offload_core.abc import EXEC_MARK, Command, Completed
from offload_core.kit import BackgroundTasks, HostProcess

from ._sentinel import SentinelReader, settled

_MAX_KEPT = 1 << 20
_MAX_SHOWN = 2000


class Died(Exception):
    """The command said that the sandbox is dead; holds the reason."""


class Client:
    """A running shell line.

    Attributes:
        process: the shell.
        ended: done when it has ended, whoever still holds its streams.
        stderr: what it writes there, searched for the sentinel.
    """

    def __init__(self, process: HostProcess) -> None:
        self.process = process
        self.ended = process.ended
        self.stderr = SentinelReader(process.stderr)

    async def kill(self) -> None:
        """End it with all that can be found of what it started, and its streams with it. Idempotent.

        What it left running when it ended by itself is not touched.
        """
        if not self.ended.done():
            await self.process.kill()
        self.process.stdout.cut()
        await self.stderr.settle()
        await self.stderr.close()


class Clients:
    """All shell lines of one provider that run on this machine.

    Args:
        cwd: the directory that they start in.

    Attributes:
        tasks: what `aclose` waits for.
    """

    def __init__(self, cwd: Path) -> None:
        self.tasks = BackgroundTasks()
        self._cwd = cwd
        self._running: set[Client] = set()

    async def start(self, line: str, env: Mapping[str, str] | None = None, *, stdin: bool = False) -> Client:
        """Start `sh -c line`.

        Raises:
            ExecFailed: there is no such directory, it is too long, it holds a NUL.

        Cancelled, it is killed.
        """
        return await self.tasks.make(self._start(line, env or {}, stdin=stdin), Client.kill, wait=True)

    async def _start(self, line: str, env: Mapping[str, str], *, stdin: bool) -> Client:
        command = Command(argv=("/bin/sh", "-c", line), env={**env, EXEC_MARK: secrets.token_hex(8)})
        client = Client(await HostProcess.start(command, cwd=self._cwd, stdin=stdin))
        self._running.add(client)
        client.ended.add_done_callback(lambda _: self._running.discard(client))
        return client

    async def run(
        self,
        line: str,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> Completed:
        """Run `sh -c line` to its end; of each stream, the last MiB is returned.

        What it leaves running in the background does not hold this up.

        Args:
            timeout: seconds; None where the caller bounds the call.
            env: on top of Offload's own environment.
            progress: called with each line that it writes.

        Raises:
            Died: it wrote the sentinel. It is not waited for.
            TimeoutError: it did not end in time; what it wrote is the message.
            ExecFailed: it could not be started.

        In all of these cases, and cancelled, it is killed with all that it started.
        """
        client = await self.start(line, env)
        out, err = _Tail(progress), _Tail(progress)
        reading = [asyncio.create_task(out.read(client.process.stdout)), asyncio.create_task(err.read(client.stderr))]
        try:
            await _ended(client, timeout, err)
            await settled(reading, lambda: out.size)
            return Completed(await client.process.wait(), bytes(out.data), bytes(err.data))
        except BaseException:
            await self.tasks.finish(client.kill())
            raise
        finally:
            for task in reading:
                task.cancel()
            client.stderr.reading.cancel()

    async def aclose(self) -> None:
        """Kill what still runs, and wait until nothing does."""
        while True:
            for client in self._running:
                self.tasks.start(client.kill())
            await self.tasks.aclose()
            if not self._running:
                return


async def _ended(client: Client, timeout: float | None, err: _Tail) -> None:
    """Wait for the end of a command, or for its sentinel."""
    either: set[asyncio.Future[Any]] = {client.ended, client.stderr.dead}
    await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if client.ended.done():
        await client.stderr.settle()
    if client.stderr.dead.done():
        raise Died(client.stderr.dead.result())
    if not client.ended.done():
        raise TimeoutError(last_words(err.data))


def last_words(written: bytes | bytearray) -> str:
    """The last of what a command wrote, for an error."""
    return written[-_MAX_SHOWN:].decode(errors="replace").strip()


class _Tail:
    """The last of one stream, which is told line by line."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.data = bytearray()
        self.size = 0
        self._progress = progress
        self._line = b""

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        """Read to the end."""
        async for chunk in stream:
            self.size += len(chunk)
            self.data += chunk
            del self.data[:-_MAX_KEPT]
            *lines, self._line = (self._line + chunk).split(b"\n")
            self._tell(lines)
            self._line = self._line[-_MAX_KEPT:]
        self._tell([self._line] if self._line else [])

    def _tell(self, lines: list[bytes]) -> None:
        for line in lines:
            self._progress(line.decode(errors="replace").rstrip("\r"))
