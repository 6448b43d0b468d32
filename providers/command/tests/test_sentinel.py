"""The line by which any command says that the sandbox is dead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from attrs import evolve
from offload_command._sentinel import Scanner

from offload_core.abc import Command, Download, Sandbox, SandboxSpec, Upload
from offload_core.errors import ProviderError, SandboxDead
from offload_core.kit import launched, run_command

SPEC = SandboxSpec(name="s", run_id="run")
FILE = PurePosixPath("/nonexistent/file")


def scanned(*chunks: bytes) -> str | None:
    """What a scanner finds in a stream that comes in these chunks."""
    scanner = Scanner()
    found = [scanner.feed(chunk) for chunk in chunks]
    return next((reason for reason in (*found, scanner.end()) if reason is not None), None)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"OFFLOAD_SANDBOX_DEAD: gone\n", "gone"),
        (b"OFFLOAD_SANDBOX_DEAD: the last line has no end", "the last line has no end"),
        (b"before\nOFFLOAD_SANDBOX_DEAD: gone\nafter\n", "gone"),
        (b"  OFFLOAD_SANDBOX_DEAD:gone\r\n", "gone"),
        (b"50 %\rOFFLOAD_SANDBOX_DEAD: gone\r", "gone"),
        (b"OFFLOAD_SANDBOX_DEAD: first\nOFFLOAD_SANDBOX_DEAD: second\n", "first"),
        (b"OFFLOAD_SANDBOX_DEAD: a: b 'c' \"d\" $(e) {sandbox_id} %s\n", "a: b 'c' \"d\" $(e) {sandbox_id} %s"),
        ("OFFLOAD_SANDBOX_DEAD: 容器 ist tot 💀\n".encode(), "容器 ist tot 💀"),
        (b"OFFLOAD_SANDBOX_DEAD: \xff\xfe\n", "��"),
        (b"OFFLOAD_SANDBOX_DEAD:\n", "the command gave no reason"),
        (b"x" * 100_000 + b"\nOFFLOAD_SANDBOX_DEAD: gone\n", "gone"),
        (b"OFFLOAD_SANDBOX_DEAD: " + b"y" * 100_000 + b"\n", "y" * 2000),
        (b"", None),
        (b"OFFLOAD_SANDBOX_DEAD\n", None),
        (b"OFFLOAD_SANDBOX_DEA\nD: gone\n", None),
        (b"OFFLOAD_SANDBOX\nOFFLOAD_SANDBOX_DEAD gone\n", None),
        (b"a script prints OFFLOAD_SANDBOX_DEAD: reason\n", None),
        (b"MY_OFFLOAD_SANDBOX_DEAD: gone\n", None),
        (b"offload_sandbox_dead: gone\n", None),
    ],
)
def test_what_is_a_sentinel(stream: bytes, reason: str | None) -> None:
    """It begins a line, whatever stands around it, and however the stream is cut into chunks."""
    assert scanned(stream) == reason
    assert scanned(*(stream[n : n + 7] for n in range(0, len(stream), 7))) == reason
    if len(stream) < 200:
        assert scanned(*(stream[n : n + 1] for n in range(len(stream)))) == reason


def said(code: int, stream: int = 2, then: str = "") -> str:
    """A command that says it between other lines, and goes on."""
    return (
        f"echo before >&2; echo 'OFFLOAD_SANDBOX_DEAD: node 7 is gone' >&{stream}; echo after >&2; {then} exit {code}"
    )


async def attempt(call: Any) -> ProviderError | None:
    """The error of a call, if it is one of a provider's."""
    try:
        await call
    except ProviderError as error:
        return error
    return None


async def use(sandbox: Sandbox, what: str) -> ProviderError | None:
    """Do one thing with a sandbox, and return how that failed."""
    match what:
        case "exec":
            return await attempt(run_command(sandbox, Command(argv=("true",))))
        case "upload":
            return await attempt(sandbox.upload([Upload(b"x", FILE)]))
        case "download":
            return await attempt(sandbox.download([Download(FILE, Path("/nonexistent/file"))]))
        case "probe":
            return SandboxDead(dead.reason) if (dead := await sandbox.probe()).is_dead else None
    return await attempt(sandbox.terminate())


@pytest.mark.parametrize("code", [0, 1, 3, 77, 255])
@pytest.mark.parametrize("what", ["exec", "upload", "download", "probe"])
async def test_any_command_can_say_so(folders: Any, what: str, code: int) -> None:
    """At any exit code it means SandboxDead with that reason, not retryable; then no command is run any more."""
    async with folders.provider(**{f"{what}_command": said(code) + ": {command}"}) as provider:
        sandbox = await provider.create(SPEC)
        error = await use(sandbox, what)
        assert isinstance(error, SandboxDead)
        assert error.message == "node 7 is gone"
        assert not provider.is_retryable(error)
        assert (await asyncio.wait_for(sandbox.wait_dead(), 30)).reason == "node 7 is gone"
        before = folders.calls()
        for each in ("exec", "upload", "download", "probe", "terminate"):
            late = await use(sandbox, each)
            assert (each == "terminate") == (late is None), each
            assert late is None or (isinstance(late, SandboxDead) and late.message == "node 7 is gone")
        assert folders.calls() == before


@pytest.mark.parametrize("code", [0, 3])
async def test_create_and_destroy_can_say_so(folders: Any, code: int) -> None:
    """A `create_command` that says so has made nothing, and is not tried again; a `destroy_command`'s work is done."""
    async with folders.provider(create_command=f"echo id; {said(code)}") as provider:
        with pytest.raises(SandboxDead, match="node 7 is gone") as caught:
            await provider.create(SPEC)
        assert not provider.is_retryable(caught.value)
        assert await provider.list() == []
    async with folders.provider(destroy_command=said(code), list_command=None) as provider:
        sandbox = await provider.create(SPEC)
        await sandbox.terminate()
        assert (await sandbox.probe()).is_dead
        assert await provider.list() == []


@pytest.mark.parametrize(("what", "failed"), [("exec", False), ("upload", True), ("download", True), ("probe", False)])
async def test_standard_output_does_not_count(folders: Any, what: str, failed: bool) -> None:
    """There the line is output like any other, and the sandbox lives."""
    changes = {} if what == "exec" else {f"{what}_command": said(1, stream=1)}
    async with folders.sandbox(**changes) as sandbox:
        if what == "exec":
            done = await run_command(sandbox, Command(argv=("echo", "OFFLOAD_SANDBOX_DEAD: node 7 is gone")))
            assert done.stdout == b"OFFLOAD_SANDBOX_DEAD: node 7 is gone\n"
        else:
            error = await use(sandbox, what)
            assert (error is not None) == failed
            assert not isinstance(error, SandboxDead)
        assert not sandbox.state.dead.done()


@pytest.mark.parametrize("what", ["exec", "download", "probe", "terminate"])
async def test_it_is_not_waited_for(folders: Any, what: str) -> None:
    """A command that goes on after it, as a client does that tries and tries again, is killed with its children."""
    name = {"terminate": "destroy"}.get(what, what)
    pids = folders.home / "pids"
    line = f"sleep 600 & echo $! >>{pids}; {said(0, then='sleep 600;')} : {{command}}"
    async with folders.provider(**{f"{name}_command": line}) as provider:
        sandbox = await provider.create(SPEC)
        error = await asyncio.wait_for(use(sandbox, what), 60)
        assert error is None if what == "terminate" else isinstance(error, SandboxDead)
    children = pids.read_text(encoding="utf-8").split()
    assert children
    assert not [pid for pid in children if folders.is_running(pid)]


async def test_a_sentinel_of_one_command_ends_the_others(folders: Any) -> None:
    """What runs in a sandbox when another command says that it is dead ends; whoever waits for a death is told."""
    async with evolve(folders, interval=600.0).provider(download_command=said(1)) as provider:
        sandbox = await provider.create(SPEC)
        waiting = asyncio.create_task(sandbox.wait_dead())
        process = await sandbox.exec(launched(Command(argv=("sh", "-c", "echo up; exec sleep 600"))))
        assert await anext(process.stdout) == b"up\n"
        assert isinstance(await use(sandbox, "download"), SandboxDead)
        assert (await asyncio.wait_for(waiting, 30)).reason == "node 7 is gone"
        lines: Sequence[bytes] = [chunk async for chunk in process.stdout]
        assert lines == []
        with pytest.raises(SandboxDead, match="node 7 is gone"):
            await process.wait()
        await process.kill()
