"""Standard input for commands in sandboxes, also where `exec_command` cannot hand it on.

There the command reads from a named pipe in the sandbox, and each write is a further command that puts its bytes
there, as base64. A small shell loop between two pipes decodes them; it keeps the outer one open between the writes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Protocol

from attrs import evolve
from typing_extensions import override

from offload_core.abc import EXEC_MARK, Command, Completed
from offload_core.errors import ConnectionLost
from offload_core.kit import race

from ._client import Client

_FEED = """\
dir=$1
shift
mkdir -p -- "$dir" && mkfifo -- "$dir/in" "$dir/out" || exit 126
{
    exec 3<>"$dir/in" || exit 1
    : >"$dir/ready"
    while read -r line <&3; do
        case $line in
            "") ;;
            .) break ;;
            *)
                printf %s "$line" | base64 -d
                [ $? -gt 128 ] && break
                ;;
        esac
    done
} >"$dir/out" 2>/dev/null </dev/null &
feeder=$!
"$@" <"$dir/out"
code=$?
kill -9 "$feeder" 2>/dev/null
rm -rf -- "$dir"
exit "$code"
"""

# Opened for both, the pipe does not make this wait for a reader that is gone; opened for writing only, it tells.
_SEND = """\
tries=0
until [ -e "$1/ready" ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 600 ] && exit 1
    sleep 0.1
done
exec 4<>"$1/in" || exit 1
exec 5>"$1/in" || exit 1
exec 4<&-
printf '\\n%s\\n' "$2" >&5
"""

# As base64 and with two line breaks it fits into an empty pipe, and into one argument of a command line.
_CHUNK = 45_000

Run = Callable[[Command], Awaitable[Completed]]
"""Runs a command in the sandbox to its end, without input."""


class Input(Protocol):
    """Where a command's standard input goes."""

    async def write(self, data: bytes) -> None:
        """Send all of it. ConnectionLost: the command reads no more."""

    async def close_stdin(self) -> None:
        """Send no more. Idempotent."""


def fed(command: Command, directory: PurePosixPath) -> Command:
    """The same command, with its standard input from pipes in a directory that need not exist."""
    return evolve(command, argv=("/bin/sh", "-c", _FEED, "offload-input", str(directory), *command.argv))


class FedInput(Input):
    """The far end of `fed`.

    Args:
        run: runs further commands in the same sandbox.
        client: what runs the command that reads; when it has ended, nobody does.
    """

    def __init__(self, run: Run, command: Command, directory: PurePosixPath, client: Client) -> None:
        self._run = run
        self._mark = command.mark
        self._directory = directory
        self._client = client
        self._turn = asyncio.Lock()
        self._closed = False

    @override
    async def write(self, data: bytes) -> None:
        """Send all of it, in as many further commands as that takes."""
        async with self._turn:
            for start in range(0, len(data), _CHUNK):
                await self._send(base64.b64encode(data[start : start + _CHUNK]).decode())

    @override
    async def close_stdin(self) -> None:
        async with self._turn:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(ConnectionLost):
                    await self._send(".")

    async def _send(self, line: str) -> None:
        if self._client.ended.done():
            raise ConnectionLost("the process has ended")
        # Marked as the command is: whoever kills that kills this one, too.
        env = {EXEC_MARK: self._mark} if self._mark else {}
        argv = ("/bin/sh", "-c", _SEND, "offload-write", str(self._directory), line)
        sending = await race(self._run(Command(argv=argv, env=env)), self._client.ended)
        # If the process ends meanwhile, nobody knows what it has read, as with what is in a pipe.
        if sending is not None and not sending.result().exit.ok:
            raise ConnectionLost("the process has closed its standard input")
