"""What an `exec_command` hands on is found out by trying, once in a run."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable

from attrs import frozen

from offload_core.abc import Command, Exit, Process
from offload_core.errors import ExecFailed
from offload_core.kit import launched

from ._client import last_words

_LAST_WORDS_SECS = 1.0
_CODE = 7
_SCRIPT = f'echo "up $1"; read -r line; echo "got $line"; exit {_CODE}'

Start = Callable[[Command], Awaitable[Process]]
"""Starts a command in a sandbox, with the standard input of `exec_command` as it is."""


@frozen
class Patience:
    """How long what is tried may take.

    Attributes:
        output_secs: until a command's first line comes.
        input_secs: from then on, until it has answered to its input.
    """

    output_secs: float = 45.0
    input_secs: float = 5.0


class InputCheck:
    """Knows whether standard input passes, once it was tried in any sandbox of the run.

    Args:
        warn: told what does not work as it should.
    """

    def __init__(self, warn: Callable[[str], None], patience: Patience) -> None:
        self._warn = warn
        self._patience = patience
        self._turn = asyncio.Lock()
        self._passes: bool | None = None

    async def passes(self, start: Start) -> bool:
        """Whether it passes; the first to ask tries it, the others wait for that.

        Raises:
            ExecFailed: commands cannot be run, or their output does not come as it is.
            SandboxDead: the sandbox died meanwhile; the next to ask tries again.
        """
        async with self._turn:
            if self._passes is None:
                self._passes = await self._try(start)
        return self._passes

    async def _try(self, start: Start) -> bool:
        token = secrets.token_hex(8)
        process = await start(launched(Command(argv=("/bin/sh", "-c", _SCRIPT, "offload-check", token))))
        try:
            output = await self._talk(process, token)
        except BaseException:
            await asyncio.shield(process.kill())
            raise
        passes = f"got {token}".encode() in output
        if not passes:
            self._warn(
                "`exec_command` hands on no standard input: each request to a test session takes a command of its own"
            )
        return passes

    async def _talk(self, process: Process, token: str) -> bytes:
        """What the script writes when it is sent a line. A script that waits for its input in vain is killed."""
        output = b""
        try:
            async with asyncio.timeout(self._patience.output_secs):
                while f"up {token}".encode() not in output:
                    output += await anext(process.stdout)
        except (StopAsyncIteration, TimeoutError):
            raise await self._no_output(process) from None
        sending = asyncio.create_task(process.write(f"{token}\n".encode()))
        try:
            async with asyncio.timeout(self._patience.input_secs):
                async for chunk in process.stdout:
                    output += chunk
                self._look_at(await process.wait())
        except TimeoutError:
            await process.kill()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return output

    def _look_at(self, ended: Exit) -> None:
        if ended.code != _CODE:
            self._warn(
                f"`exec_command` does not hand on the exit code of what it runs: {ended} instead of exit code {_CODE}. "
                "Failed transfers and crashes will be told in the wrong words"
            )

    async def _no_output(self, process: Process) -> ExecFailed:
        """What to raise where a command's first line did not come."""
        said = b""
        ended = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECS):
                ended = await process.wait()
                async for chunk in process.stderr:
                    said += chunk
        how = f"it ended with {ended}" if ended else f"nothing came in {self._patience.output_secs:g} s"
        tail = last_words(said)
        return ExecFailed(
            f"`exec_command` must run {{command}} and hand on its output, unchanged and as it comes; {how}"
            + (f": {tail}" if tail else "")
        )
