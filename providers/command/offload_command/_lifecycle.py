"""Commands that are run to their end: all but `exec_command`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from attrs import frozen

from offload_core.abc import Completed
from offload_core.errors import (
    ConnectionLost,
    CreateFailed,
    DownloadFailed,
    PrepareFailed,
    ProviderError,
    UploadFailed,
)

from ._client import Client, Clients

_MAX_KEPT = 1 << 20
_MAX_SHOWN = 2000
_GRACE_SECS = 0.5


@frozen
class Step:
    """A command of the configuration: what it does in the words of the contract, its key, and what its failure is."""

    operation: str
    key: str
    failure: type[ProviderError]


PREPARE = Step("prepare", "prepare_command", PrepareFailed)
CREATE = Step("create", "create_command", CreateFailed)
UPLOAD = Step("upload", "upload_command", UploadFailed)
DOWNLOAD = Step("download", "download_command", DownloadFailed)
LIST = Step("list", "list_command", ConnectionLost)
DESTROY = Step("terminate", "destroy_command", ProviderError)


class Died(Exception):
    """The command said that the sandbox is dead; holds the reason."""


async def finish(
    clients: Clients,
    line: str,
    timeout: float | None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Completed:
    """Run a shell line on this machine to its end; of each stream, the last MiB is returned.

    What it leaves running in the background does not hold this up.

    Args:
        timeout: seconds; None where the caller bounds the call.
        progress: called with each line that it writes.

    Raises:
        Died: it wrote the sentinel. It is not waited for.
        TimeoutError: it did not end in time; what it wrote is the message.
        OSError, ValueError: it could not be started.
    In all of these cases, and cancelled, it is killed with all that it started.
    """
    client = await clients.start(line, env)
    out, err = _Kept(progress), _Kept(progress)
    reading = {asyncio.create_task(out.read(client.stdout)), asyncio.create_task(err.read(client.stderr))}
    try:
        await _ended(client, timeout, err)
        while reading:
            before = out.size
            _, reading = await asyncio.wait(reading, timeout=_GRACE_SECS)
            if out.size == before:
                break
        return Completed(await client.wait(), bytes(out.data), bytes(err.data))
    except BaseException:
        await clients.finish(client.kill())
        raise
    finally:
        for task in reading:
            task.cancel()
        client.stderr.reading.cancel()


async def _ended(client: Client, timeout: float | None, err: _Kept) -> None:
    """Wait for the end of a command, or for its sentinel."""
    either: set[asyncio.Future[Any]] = {client.ended, client.stderr.dead}
    await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if client.ended.done():
        await client.stderr.settle()
    if client.stderr.dead.done():
        raise Died(client.stderr.dead.result())
    if not client.ended.done():
        raise TimeoutError(err.text[-_MAX_SHOWN:])


def tail(data: bytes) -> str:
    """The last of what a command wrote, for an error."""
    return data[-_MAX_SHOWN:].decode(errors="replace").strip()


class _Kept:
    """The last of one stream."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.data = bytearray()
        self.size = 0
        self._progress = progress
        self._line = b""

    @property
    def text(self) -> str:
        """As text, without white space around it."""
        return self.data.decode(errors="replace").strip()

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
