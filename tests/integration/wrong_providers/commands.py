"""Wrong about commands: what they are given, what they say, and how they end."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve

from offload_core.abc import ByteStream, Command, Exit, Process, Sandbox, SandboxSpec
from offload_core.errors import ExecFailed, ProviderError

from .base import Case, Wrong, WrongSandbox, hang


class MergesStreams(WrongSandbox):
    """Sends standard error to standard output."""

    async def exec(self, command: Command) -> Process:
        """Through a shell that does it."""
        return await super().exec(evolve(command, argv=("/bin/sh", "-c", 'exec "$@" 2>&1', "sh", *command.argv)))


class JoinsArguments(WrongSandbox):
    """Makes a shell line of an argument list."""

    async def exec(self, command: Command) -> Process:
        """Quoted, but empty arguments are lost."""
        line = " ".join(shlex.quote(word) for word in command.argv if word)
        return await super().exec(evolve(command, argv=("/bin/sh", "-c", f"exec {line}")))


class LosesEnvironment(WrongSandbox):
    """Forgets a command's variables."""

    async def exec(self, command: Command) -> Process:
        """Without them."""
        return await super().exec(evolve(command, env={}))


class IgnoresDirectory(Wrong):
    """Starts commands wherever it is."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Without the spec's directory."""
        return await super().create(evolve(spec, cwd=None))


class ChangesExit(WrongSandbox):
    """Says something else about how a command ended."""

    def change(self, process: Any) -> None:
        """With another `wait`."""
        wait = process.wait

        async def changed() -> Exit:
            return self.changed(await wait())

        process.wait = changed

    def changed(self, ended: Exit) -> Exit:
        """What it says."""
        return Exit(0)


class SignalsAreFailures(ChangesExit):
    """Does not tell signals from exit codes."""

    def changed(self, ended: Exit) -> Exit:
        """Says 1 for every signal."""
        return ended if ended.signal is None else Exit(1)


class MissingIsAFailure(WrongSandbox):
    """Does not tell what could not be started from what failed."""

    async def exec(self, command: Command) -> Process:
        """Something else that fails."""
        try:
            return await super().exec(command)
        except ExecFailed:
            return await super().exec(evolve(command, argv=("false",), cwd=None))


class ChangesOutput(WrongSandbox):
    """Changes what a command writes."""

    def change(self, process: Any) -> None:
        """On its standard output."""
        process.stdout = self.changed(process.stdout)

    async def changed(self, stream: ByteStream) -> AsyncIterator[bytes]:
        """Treats output as text."""
        async for chunk in stream:
            yield chunk.replace(b"\r\n", b"\n")


class CutsOutput(ChangesOutput):
    """Keeps the first MiB."""

    async def changed(self, stream: ByteStream) -> AsyncIterator[bytes]:
        """Reads the rest, and drops it."""
        left = 1 << 20
        async for chunk in stream:
            if left:
                yield chunk[:left]
            left = max(left - len(chunk), 0)


class KeepsOutputBack(ChangesOutput):
    """Hands output over when all is there."""

    async def changed(self, stream: ByteStream) -> AsyncIterator[bytes]:
        """All of it at once."""
        yield b"".join([chunk async for chunk in stream])


class BuffersWithoutBound(WrongSandbox):
    """Reads all that a command writes into memory at once."""

    def change(self, process: Any) -> None:
        """With streams that were read ahead."""
        process.tasks = []

        def ahead(stream: ByteStream) -> ByteStream:
            chunks: asyncio.Queue[bytes] = asyncio.Queue()

            async def read() -> None:
                async for chunk in stream:
                    chunks.put_nowait(chunk)
                chunks.put_nowait(b"")

            async def chunked() -> AsyncIterator[bytes]:
                while chunk := await chunks.get():
                    yield chunk

            process.tasks.append(asyncio.ensure_future(read()))
            return chunked()

        process.stdout, process.stderr = ahead(process.stdout), ahead(process.stderr)


class RaisesOfItsOwn(WrongSandbox):
    """Lets an error of the system through."""

    def change(self, process: Any) -> None:
        """From `write`."""
        write = process.write

        async def changed(data: bytes) -> None:
            try:
                await write(data)
            except ProviderError as error:
                raise BrokenPipeError("nobody reads") from error

        process.write = changed


class OneAtATime(WrongSandbox):
    """Starts a command when the one before has ended."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._last: Process | None = None
        self._turn = asyncio.Lock()

    async def exec(self, command: Command) -> Process:
        """After the last."""
        async with self._turn:
            if self._last is not None:
                await self._last.wait()
            self._last = await super().exec(command)
            return self._last


class GoesOnStarting(WrongSandbox):
    """Does not stop when `exec` is cancelled."""

    async def exec(self, command: Command) -> Process:
        """In a task of its own."""
        return await asyncio.shield(asyncio.ensure_future(super().exec(command)))


class KillsOneProcess(WrongSandbox):
    """Kills the first process of a command only."""

    async def exec(self, command: Command) -> Process:
        """With a note of its id, and another kill."""
        note = self.scratch / f"pid-{command.mark}"
        noting = ("/bin/sh", "-c", 'mkdir -p "${0%/*}"; echo $$ >"$0"; exec "$@"', str(note))
        process: Any = await super().exec(evolve(command, argv=(*noting, *command.argv)))

        async def kill() -> None:
            try:
                os.kill(int(await asyncio.to_thread(Path(note).read_text)), signal.SIGKILL)
            except ProcessLookupError:
                pass

        process.kill = kill
        return process  # type: ignore[no-any-return]


class KillsOneByOne(WrongSandbox):
    """Kills the processes of a command one after the other, and the first of them last."""

    async def exec(self, command: Command) -> Process:
        """With a kill that takes its time."""
        process: Any = await super().exec(command)
        kill = process.kill

        async def changed() -> None:
            for pid in await asyncio.to_thread(_inside, f"{self.scratch}/"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.01)
            await kill()

        process.kill = changed
        return process  # type: ignore[no-any-return]


def _inside(directory: str) -> list[int]:
    """The processes that work in a directory, youngest first."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str((entry / "cwd").readlink()).startswith(directory):
                found.append(int(entry.name))
    return sorted(found, reverse=True)


class KillsNothing(WrongSandbox):
    """Forgets what to kill."""

    def change(self, process: Any) -> None:
        """With a kill that does nothing."""

        async def kill() -> None:
            pass

        process.kill = kill


class KillsOnce(WrongSandbox):
    """Errs when there is nothing to kill any more."""

    def change(self, process: Any) -> None:
        """With another kill."""
        kill = process.kill
        killed: list[bool] = []

        async def changed() -> None:
            if killed:
                raise ProviderError("no such process")
            killed.append(True)
            await kill()

        process.kill = changed


class KillForgets(WrongSandbox):
    """Counts a kill as done as soon as it has been asked for."""

    def change(self, process: Any) -> None:
        """With another kill."""
        kill = process.kill
        asked: list[bool] = []

        async def changed() -> None:
            if not asked:
                asked.append(True)
                for _ in range(5):
                    await asyncio.sleep(0)
                await kill()

        process.kill = changed


class KillWaitsForReaders(WrongSandbox):
    """Reads on until the streams end."""

    def change(self, process: Any) -> None:
        """Before it kills."""
        kill = process.kill

        async def changed() -> None:
            await process.communicate()
            await kill()

        process.kill = changed


class WaitKills(WrongSandbox):
    """Kills what nobody waits for any more."""

    def change(self, process: Any) -> None:
        """With another wait."""
        wait = process.wait

        async def changed() -> Exit:
            try:
                return await wait()  # type: ignore[no-any-return]
            except asyncio.CancelledError:
                await process.kill()
                raise

        process.wait = changed


class WriteGoesOn(WrongSandbox):
    """Writes on when it is cancelled."""

    def change(self, process: Any) -> None:
        """With another write."""
        write = process.write

        async def changed(data: bytes) -> None:
            try:
                await write(data)
            except asyncio.CancelledError:
                await hang()

        process.write = changed


CASES = (
    Case(MergesStreams, "test_exec_output_and_exit_code", "`stdout` must hold what was written to it, and only"),
    Case(ChangesExit, "test_exec_output_and_exit_code", "`wait` must return exit code 1"),
    Case(SignalsAreFailures, "test_exec_killed_by_signal", "after signal 9, `wait` must return that signal or"),
    Case(CutsOutput, "test_exec_large_output", "must arrive whole on `stdout`: got 1048576 bytes"),
    Case(KeepsOutputBack, "test_exec_streams_as_it_comes", "output must arrive before the process ends", hangs=True),
    Case(ChangesOutput, "test_exec_binary", "bytes must not be changed"),
    Case(RaisesOfItsOwn, "test_exec_input_not_read", "must raise ConnectionLost or return; it raised BrokenPipeError"),
    Case(JoinsArguments, "test_exec_arguments_and_environment", "arguments must arrive unchanged"),
    Case(LosesEnvironment, "test_exec_arguments_and_environment", "`Command.env` must come on top"),
    Case(IgnoresDirectory, "test_exec_directory", "without `Command.cwd`, `SandboxSpec.cwd` counts"),
    Case(MissingIsAFailure, "test_exec_cannot_start", "must be ExecFailed or exit 126 or 127"),
    Case(OneAtATime, "test_exec_several_at_once", "must be able to run at the same time", hangs=True),
    Case(BuffersWithoutBound, "test_exec_back_pressure", "must stop reading from its backend"),
    Case(GoesOnStarting, "test_exec_cancelled", "a cancelled `exec` must kill what it has started", hangs=True),
    Case(KillsOneProcess, "test_kill_reaches_grandchildren", "`kill` must end all descendants", hangs=True),
    Case(KillsOneByOne, "test_kill_is_not_witnessed", "`kill` must end parents before their children"),
    Case(KillsOnce, "test_kill_is_idempotent", "two `kill` at once must return; it raised .*no such process"),
    Case(KillWaitsForReaders, "test_kill_of_what_blocks", "`kill` must not need anybody to read", hangs=True),
    Case(KillsNothing, "test_command_timeout", "a cancelled `run` must leave no process behind", hangs=True),
    Case(WaitKills, "test_questions_cancelled", "cancelling `wait` must not touch the process"),
    Case(WriteGoesOn, "test_write_cancelled", "a cancelled `write` must return", hangs=True),
    Case(KillForgets, "test_kill_cancelled", "`kill` must work after a cancelled one", hangs=True),
)
