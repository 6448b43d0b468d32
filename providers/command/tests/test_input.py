"""Standard input where `exec_command` hands it on, and where it does not."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from attrs import evolve
from offload_command import Patience

from offload_core.abc import Command, Sandbox, SandboxSpec
from offload_core.errors import ConnectionLost, ExecFailed
from offload_core.kit import launched, run_command

BOUND_SECS = 120
DATA = random.Random(1).randbytes(150_000) + bytes(range(256)) + b"\r\n\x04"


def shell(script: str, *arguments: str) -> Command:
    """A shell script, as the core would run it."""
    return launched(Command(argv=("sh", "-c", script, "sh", *arguments)))


def without_input(folders: Any) -> AbstractAsyncContextManager[Sandbox]:
    """A sandbox whose commands get no input."""
    sandbox: AbstractAsyncContextManager[Sandbox] = folders.sandbox(
        exec_command=folders.line("exec-without-input", "{sandbox_id} {command}")
    )
    return sandbox


async def test_all_bytes_arrive(folders: Any) -> None:
    """In order and unchanged, more than fits into one command; then the end of the input, and the exit code."""
    async with without_input(folders) as sandbox, asyncio.timeout(BOUND_SECS):
        done = await (await sandbox.exec(shell("cat; exit 7"))).communicate([b"first\n", DATA, b"", b"last"])
        assert done.stdout == b"first\n" + DATA + b"last"
        assert (done.exit.code, done.stderr) == (7, b"")
        done = await (await sandbox.exec(shell("cat; echo over"))).communicate()
        assert (done.exit.code, done.stdout) == (0, b"over\n")


async def test_a_process_can_answer(folders: Any) -> None:
    """What is written arrives while the process runs, and the process can end before its input does."""
    async with without_input(folders) as sandbox, asyncio.timeout(BOUND_SECS):
        process = await sandbox.exec(
            shell('while read -r line; do echo "got $line"; [ "$line" != end ] || exit 3; done')
        )
        for word in (b"one", b"two", b"end"):
            await process.write(word + b"\n")
            assert await anext(process.stdout) == b"got " + word + b"\n"
        assert (await process.wait()).code == 3
        with pytest.raises(ConnectionLost):
            await process.write(b"late\n")
        await process.close_stdin()
        assert not any(os.scandir(sandbox.scratch))  # the pipes are gone


async def test_input_that_nobody_reads(folders: Any) -> None:
    """Writing waits, and ends with ConnectionLost when the process is killed or closes its input and ends."""

    async def fill(process: Any) -> None:
        for _ in range(16):
            await process.write(b"x" * 45_000)

    async with without_input(folders) as sandbox, asyncio.timeout(BOUND_SECS):
        process = await sandbox.exec(shell("echo up; exec sleep 600"))
        await anext(process.stdout)
        filling = asyncio.create_task(fill(process))
        done, _ = await asyncio.wait({filling}, timeout=1)
        assert not done
        await process.kill()
        with pytest.raises(ConnectionLost):
            await filling
        process = await sandbox.exec(shell("exec <&-; exit 0"))
        with pytest.raises(ConnectionLost):
            await fill(process)
        assert (await process.wait()).ok


async def test_the_check_is_made_once(folders: Any) -> None:
    """However many sandboxes there are; what was found out holds for all."""
    async with folders.provider() as provider:
        sandboxes = [await provider.create(SandboxSpec(name=f"s{n}", run_id="run")) for n in range(4)]
        runs = [run_command(sandbox, Command(argv=("cat",)), stdin=b"x") for sandbox in sandboxes]
        assert [done.stdout for done in await asyncio.gather(*runs)] == [b"x"] * 4
        calls = folders.calls()
        assert sum(calls["exec", sandbox.ref.id] for sandbox in sandboxes) == 4 + 1
        for sandbox in sandboxes:
            await sandbox.terminate()


async def test_input_that_is_neither_handed_on_nor_closed(folders: Any) -> None:
    """A command that waits for its input for ever gets none either; what tried that is killed."""
    folders = evolve(folders, patience=Patience(input_secs=1.0))
    never = folders.home / "never"
    line = f"mkfifo -m 600 {never} 2>/dev/null; exec 0<>{never}; {folders.line('exec', '{sandbox_id} {command}')}"
    async with folders.sandbox(exec_command=line) as sandbox:
        assert (await run_command(sandbox, Command(argv=("cat",)), stdin=b"x")).stdout == b"x"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo no such host >&2; exit 255; : {command}", "exit code 255: no such host"),
        ("sh -c {command} >/dev/null", "hand on its output"),
        ('echo "{{\\"exit_code\\": 0}}"; : {command}', "unchanged and as it comes"),
    ],
)
async def test_a_command_without_output_is_refused(folders: Any, line: str, words: str) -> None:
    """Nothing could be done in such a sandbox: the first command says what `exec_command` must do."""
    folders = evolve(folders, patience=Patience(output_secs=1.0))
    async with folders.sandbox(exec_command=line) as sandbox:
        with pytest.raises(ExecFailed, match=words):
            await run_command(sandbox, Command(argv=("true",)))


async def test_an_exit_code_that_is_not_handed_on_is_said(folders: Any) -> None:
    """Once; the run goes on, because a session does not depend on it."""
    warnings: list[str] = []
    line = folders.line("exec", "{sandbox_id} {command}") + "; true"
    async with folders.sandbox(warn=warnings.append, exec_command=line) as sandbox:
        for _ in range(2):
            assert (await run_command(sandbox, Command(argv=("cat",)), stdin=b"x")).stdout == b"x"
        assert len(warnings) == 1
        assert "does not hand on the exit code" in warnings[0]
