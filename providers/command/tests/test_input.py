"""Standard input where `exec_command` hands it on, and where it does not."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from offload_core.abc import Command, Sandbox, SandboxSpec
from offload_core.errors import ConnectionLost, ExecFailed
from offload_core.kit import launched

DATA = random.Random(1).randbytes(150_000) + bytes(range(256)) + b"\r\n\x04"


def shell(script: str, *arguments: str) -> Command:
    """A shell script, as the core would run it."""
    return launched(Command(argv=("sh", "-c", script, "sh", *arguments)))


def without_input(folders: Any, use: Callable[[Sandbox], Awaitable[None]]) -> None:
    """Use a sandbox whose commands get no input."""

    async def check() -> None:
        exec_command = folders.line("exec-without-input", "{sandbox_id} {command}")
        provider = folders.provider(exec_command=exec_command)
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
        await use(sandbox)
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(asyncio.wait_for(check(), 120))


def test_all_bytes_arrive(folders: Any) -> None:
    """In order and unchanged, more than fits into one command; then the end of the input, and the exit code."""

    async def use(sandbox: Sandbox) -> None:
        done = await (await sandbox.exec(shell("cat; exit 7"))).communicate([b"first\n", DATA, b"", b"last"])
        assert done.stdout == b"first\n" + DATA + b"last"
        assert (done.exit.code, done.stderr) == (7, b"")
        done = await (await sandbox.exec(shell("cat; echo over"))).communicate()
        assert (done.exit.code, done.stdout) == (0, b"over\n")

    without_input(folders, use)


def test_a_process_can_answer(folders: Any) -> None:
    """What is written arrives while the process runs, and the process can end before its input does."""

    async def use(sandbox: Sandbox) -> None:
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

    without_input(folders, use)


def test_input_that_nobody_reads(folders: Any) -> None:
    """Writing waits, and ends with ConnectionLost when the process is killed or closes its input and ends."""

    async def use(sandbox: Sandbox) -> None:
        async def fill(process: Any) -> None:
            for _ in range(16):
                await process.write(b"x" * 45_000)

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

    without_input(folders, use)


def test_the_check_is_made_once(folders: Any) -> None:
    """However many sandboxes there are; what was found out holds for all."""

    async def check() -> None:
        provider = folders.provider()
        sandboxes = [await provider.create(SandboxSpec(name=f"s{n}", run_id="run")) for n in range(4)]
        runs = [sandbox.run(Command(argv=("cat",)), stdin=b"x") for sandbox in sandboxes]
        assert [done.stdout for done in await asyncio.gather(*runs)] == [b"x"] * 4
        calls = folders.calls()
        assert sum(calls["exec", sandbox.ref.id] for sandbox in sandboxes) == 4 + 1
        for sandbox in sandboxes:
            await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())


def test_input_that_is_neither_handed_on_nor_closed(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits for its input for ever gets none either; what tried that is killed."""
    monkeypatch.setattr("offload_command._input_check._INPUT_SECS", 1.0)

    async def check() -> None:
        never = folders.home / "never"
        line = f"mkfifo -m 600 {never} 2>/dev/null; exec 0<>{never}; {folders.line('exec', '{sandbox_id} {command}')}"
        provider = folders.provider(exec_command=line)
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
        assert (await sandbox.run(Command(argv=("cat",)), stdin=b"x")).stdout == b"x"
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo no such host >&2; exit 255; : {command}", "exit code 255: no such host"),
        ("sh -c {command} >/dev/null", "hand on its output"),
        ('echo "{{\\"exit_code\\": 0}}"; : {command}', "unchanged and as it comes"),
    ],
)
def test_a_command_without_output_is_refused(
    folders: Any, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """Nothing could be done in such a sandbox: the first command says what `exec_command` must do."""
    monkeypatch.setattr("offload_command._input_check._UP_SECS", 1.0)

    async def check() -> None:
        provider = folders.provider(exec_command=line)
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
        with pytest.raises(ExecFailed, match=words):
            await sandbox.run(Command(argv=("true",)))
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())


def test_an_exit_code_that_is_not_handed_on_is_said(folders: Any) -> None:
    """Once; the run goes on, because a session does not depend on it."""

    async def check() -> None:
        warnings: list[str] = []
        line = folders.line("exec", "{sandbox_id} {command}") + "; true"
        provider = folders.provider(warn=warnings.append, exec_command=line)
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
        for _ in range(2):
            assert (await sandbox.run(Command(argv=("cat",)), stdin=b"x")).stdout == b"x"
        assert len(warnings) == 1
        assert "does not hand on the exit code" in warnings[0]
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())
