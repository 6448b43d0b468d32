"""Checks of `Sandbox.exec` and of the processes it returns."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from contextlib import suppress
from pathlib import PurePosixPath

from ..abc import Command, Exit, Process, Sandbox
from ..errors import ConnectionLost, ExecFailed
from ..kit import launched, run_command
from ._checks import Checks, check, drain, in_sandbox, must, noted, read_lines, run_shell, shell

ODD = ("", " ", "two words", "'", '"', "$HOME", "`id`", "a\nb", "\\", "-n", "--", "*", "ünï → 名", "tab\tbell\a", "a=b")
_MIB = 1 << 20
_UNREAD = 64 * _MIB
_MAY_BUFFER = 8 * _MIB  # the contract says 1 MiB a stream; what a backend's library needs beside that is its own

_TALK = """\
i=0
while [ $i -lt 64 ]; do
    head -c 65536 /dev/zero | tr '\\0' a
    head -c 65536 /dev/zero | tr '\\0' b >&2
    i=$((i + 1))
done
"""


class ExecChecks(Checks):
    """Commands: arguments, environment, streams, exits."""

    @in_sandbox
    async def test_exec_output_and_exit_code(self, sandbox: Sandbox) -> None:
        """Standard output and standard error arrive apart, and the exit code is the command's."""
        done = await run_shell(sandbox, "printf out; printf err >&2; exit 7")
        must(done.stdout == b"out", f"`stdout` must hold what was written to it, and only that: {done.stdout!r}")
        must(done.stderr == b"err", f"`stderr` must hold what was written to it, and only that: {done.stderr!r}")
        for code in (0, 1, 7, 126, 255):
            ended = (await run_shell(sandbox, f"exit {code}")).exit
            must(ended.code == code, f"`wait` must return exit code {code}; it returned {ended}")

    @in_sandbox
    async def test_exec_killed_by_signal(self, sandbox: Sandbox) -> None:
        """A command that a signal ends says so: by the signal's number, or by the exit code 128 + number."""
        for number in (9, 15):
            ended = (await run_shell(sandbox, f"kill -{number} $$")).exit
            told = (ended.code, ended.signal) in ((None, number), (128 + number, None))
            must(told, f"after signal {number}, `wait` must return that signal or exit code 128 + it: {ended!r}")

    @in_sandbox
    async def test_exec_large_output(self, sandbox: Sandbox) -> None:
        """Several MiB on both streams at once arrive whole, and do not block each other."""
        done = await self.succeeds(run_shell(sandbox, _TALK), "large output on both streams must not block")
        must(done.stdout == b"a" * 4 * _MIB, f"4 MiB must arrive whole on `stdout`: got {len(done.stdout)} bytes")
        must(done.stderr == b"b" * 4 * _MIB, f"4 MiB must arrive whole on `stderr`: got {len(done.stderr)} bytes")

    @in_sandbox
    async def test_exec_streams_as_it_comes(self, sandbox: Sandbox) -> None:
        """Output arrives while the process runs, and it can answer to what it is sent."""
        process = await self.start(sandbox, 'while read -r line; do echo "got $line"; done')
        for word in (b"one", b"two"):
            await process.write(word + b"\n")
            reading = self.succeeds(read_lines(process, 1), "output must arrive before the process ends")
            must(await reading == [b"got " + word], "what is written must reach standard input, in order")
        await process.close_stdin()
        await process.close_stdin()
        ended = await self.succeeds(process.wait(), "`close_stdin` must be seen as the end of standard input")
        must(ended.ok, f"the process ended with {ended}")
        again = await asyncio.gather(process.wait(), process.wait())
        must(list(again) == [ended, ended], "`wait` must return the same each time, as often as it is called")

    @in_sandbox
    async def test_exec_binary(self, sandbox: Sandbox) -> None:
        """All bytes pass unchanged: in, and out on both streams."""
        data = random.Random(1).randbytes(_MIB) + bytes(range(256)) + b"\r\n\x04\x1a\xff\xfe"
        script = 'mkdir -p "$1"; cat >"$1/in"; cat "$1/in"; cat "$1/in" >&2'
        command = shell(script, str(sandbox.scratch))
        done = await self.succeeds(run_command(sandbox, command, stdin=data), "`write` must not block for ever")
        for name, came in (("stdout", done.stdout), ("stderr", done.stderr)):
            must(came == data, f"bytes must not be changed, decoded or lost on their way in and out by `{name}`")

    @in_sandbox
    async def test_exec_input_not_read(self, sandbox: Sandbox) -> None:
        """Writing to a process that has ended fails with ConnectionLost or does nothing; it never hangs."""
        process = await self.start(sandbox, "exec <&-; exit 0")
        await self.succeeds(process.wait(), "`wait` must return when the process has ended")

        async def write() -> None:
            with suppress(ConnectionLost):
                for _ in range(16):
                    await process.write(b"x" * 65536)
            await process.close_stdin()

        await self.succeeds(write(), "`write` to a process that has ended must raise ConnectionLost or return")

    @check
    async def test_exec_arguments_and_environment(self) -> None:
        """Arguments and variables arrive as they are, whatever is in them."""
        script = 'for word do printf "%s\\0" "$word"; done; printf "%s\\0" "$ODD" "$SPEC" "$BOTH"'
        env = {"SPEC": "a b", "BOTH": "spec"}
        async with self.sandbox(env=env) as sandbox:
            for odd in ODD:
                done = await run_command(sandbox, shell(script, *ODD, env={"ODD": odd, "BOTH": "command"}))
                words = [word.decode() for word in done.stdout.split(b"\0")]
                must(words[: len(ODD)] == list(ODD), f"arguments must arrive unchanged: {words} for {list(ODD)}")
                seen = words[len(ODD) : -1]
                asked = [odd, "a b", "command"]
                must(seen == asked, f"`Command.env` must come on top of `SandboxSpec.env`: {seen} for {asked}")

    @check
    async def test_exec_directory(self) -> None:
        """A command starts in its own directory, else in the spec's."""
        async with self.sandbox(cwd=PurePosixPath("/usr")) as sandbox:
            done = await run_shell(sandbox, "pwd")
            must(done.stdout == b"/usr\n", f"without `Command.cwd`, `SandboxSpec.cwd` counts: {done.stdout!r}")
            done = await run_command(sandbox, shell("pwd", cwd=PurePosixPath("/")))
            must(done.stdout == b"/\n", f"`Command.cwd` must be where the command starts: {done.stdout!r}")

    @in_sandbox
    async def test_exec_cannot_start(self, sandbox: Sandbox) -> None:
        """A program or a directory that is not there is an ExecFailed or an exit code of 126 or 127."""
        missing = (Command(argv=("/no/such/program",)), shell("true", cwd=PurePosixPath("/no/such/directory")))
        for command in missing:
            try:
                ended = (await run_command(sandbox, command)).exit
            except ExecFailed:
                continue
            told = ended.code in (126, 127)
            must(told, f"{command.argv[0]} in {command.cwd} must be ExecFailed or exit 126 or 127: {ended}")

    @in_sandbox
    async def test_exec_several_at_once(self, sandbox: Sandbox) -> None:
        """Commands of one sandbox run beside each other, in the same file system."""
        waiting = 'mkdir -p "$1"; until [ -e "$1/$2" ]; do sleep 0.05; done; : >"$1/$3"'
        place = str(sandbox.scratch)
        first = self.start(sandbox, waiting, place, "b", "a")
        second = self.start(sandbox, 'mkdir -p "$1"; : >"$1/b"; ' + waiting, place, "a", "c")
        message = "two commands of one sandbox must be able to run at the same time"
        processes = await self.succeeds(asyncio.gather(first, second), message)
        ended = await self.succeeds(asyncio.gather(*(process.wait() for process in processes)), message)
        must(ended == [Exit(0), Exit(0)], f"both must end well: {ended}")

    @in_sandbox
    async def test_exec_back_pressure(self, sandbox: Sandbox) -> None:
        """Of what nobody reads, little is held in memory: the process has to wait. Nothing of it is lost."""
        process = await self.start(sandbox, f"head -c {_UNREAD} /dev/zero; head -c {_UNREAD} /dev/zero >&2")
        tracemalloc.start()
        try:
            for _ in range(20):  # time enough for a provider that reads ahead to do so
                await run_shell(sandbox, "true")
                held, _ = tracemalloc.get_traced_memory()
                must(
                    held < _MAY_BUFFER,
                    f"{held >> 20} MiB are held while nobody reads; a provider must stop reading from its "
                    "backend when it holds 1 MiB of a stream",
                )
        finally:
            tracemalloc.stop()
        told = await self.succeeds(drain(process), "reading must go on where it stopped")
        must(told == [_UNREAD, _UNREAD], f"all {_UNREAD} bytes of each stream must arrive: {told}")

    @in_sandbox
    async def test_exec_cancelled(self, sandbox: Sandbox) -> None:
        """A cancelled `exec` leaves no process behind, at whatever moment it is cancelled."""
        await run_shell(sandbox, 'mkdir -p "$1"', str(sandbox.scratch))
        for moment in range(12):
            note = f"{sandbox.scratch}/pid-{moment}"
            command = launched(shell('echo $$ >"$1.new"; mv "$1.new" "$1"; exec sleep 600', note))
            starting = await self.cancelled(sandbox.exec(command), moment, "a cancelled `exec` must return")
            outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
            if isinstance(outcome, Process):
                await outcome.kill()
            pids = (await noted(sandbox, note)).split()
            await self.over(sandbox, pids, "a cancelled `exec` must kill what it has started")
