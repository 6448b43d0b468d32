"""Commands on the host: streams, exits, and an end that reaches every descendant."""

from __future__ import annotations

import asyncio
import os
import sys
import tracemalloc
from pathlib import Path, PurePosixPath

import pytest

from offload_core.abc import Command, Exit, Upload
from offload_core.errors import ConnectionLost, ExecFailed, UploadFailed
from offload_core.execution.host import HostExecutor, HostProcess, host_environment
from offload_core.kit import launched

BOUND_SECS = 60


async def finished(process: HostProcess) -> tuple[bytes, bytes, Exit]:
    """Everything a process writes, and how it ends."""

    async def read(stream: object) -> bytes:
        return b"".join([chunk async for chunk in stream])  # type: ignore[attr-defined]

    async with asyncio.timeout(BOUND_SECS):
        stdout, stderr = await asyncio.gather(read(process.stdout), read(process.stderr))
        return stdout, stderr, await process.wait()


def sh(script: str, **env: str) -> Command:
    """A shell script as the core would start it."""
    return launched(Command(argv=("/bin/sh", "-c", script), env=env, cwd=PurePosixPath("/")))


@pytest.mark.parametrize(
    ("script", "expected"),
    [("exit 0", Exit(code=0)), ("exit 42", Exit(code=42)), ("kill -TERM $$", Exit(signal=15))],
)
def test_exit(script: str, expected: Exit) -> None:
    """Exit codes and signals are told apart."""

    async def scenario() -> None:
        process = await HostExecutor().exec(sh(script))
        assert (await finished(process))[2] == expected
        assert await process.wait() == expected

    asyncio.run(scenario())


def test_streams() -> None:
    """Standard input, output and error work at once, for more than any buffer holds; variables and directory arrive."""

    async def scenario() -> None:
        process = await HostExecutor().exec(sh('cat; printf "%s" "$WORD" >&2; pwd >&2', WORD="it's"))
        reading = asyncio.create_task(finished(process))
        await process.write(b"x" * (5 << 20))
        await process.close_stdin()
        await process.close_stdin()
        stdout, stderr, ended = await reading
        assert stdout == b"x" * (5 << 20)
        assert stderr == b"it's/\n"
        assert ended.ok

    asyncio.run(scenario())


def test_output_nobody_reads_is_bounded() -> None:
    """A process whose output nobody reads waits in its pipe instead of filling memory, and goes on when it is read."""

    async def scenario() -> None:
        process = await HostExecutor().exec(sh("head -c 50000000 /dev/zero"))
        total = len(await anext(process.stdout))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert total <= 1 << 20
        tracemalloc.start()
        try:
            async with asyncio.timeout(BOUND_SECS):
                async for chunk in process.stdout:
                    total += len(chunk)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
        assert total == 50_000_000
        assert (await process.wait()).ok

    asyncio.run(scenario())


def test_write_to_one_that_has_ended() -> None:
    """Writing to a process that does not read any more is a lost connection."""

    async def scenario() -> None:
        process = await HostExecutor().exec(sh("exit 0"))
        await finished(process)
        with pytest.raises(ConnectionLost):
            await process.write(b"x" * 10_000_000)

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_kill_reaches_descendants() -> None:
    """`kill` ends the process, its group, and a grandchild that made itself a session of its own; twice is fine."""
    grandchild = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(1000)"

    async def scenario() -> None:
        script = f"{sys.executable} -c '{grandchild}' & sleep 1000"
        process = await HostExecutor().exec(sh(script))
        async with asyncio.timeout(BOUND_SECS):
            pid = int(await anext(process.stdout))
            await process.kill()
            await process.kill()
            assert (await process.wait()).signal == 9
            _, _, ended = await finished(process)  # the streams end: nobody holds them
        assert ended.signal == 9
        state = Path(f"/proc/{pid}/stat")
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"  # noqa: ASYNC240

    asyncio.run(scenario())


def test_no_such_program() -> None:
    """A program or a directory that does not exist is said by name."""

    async def scenario() -> None:
        with pytest.raises(ExecFailed, match="/no/such"):
            await HostExecutor().exec(Command(argv=("/no/such",)))
        process = await HostExecutor().exec(launched(Command(argv=("true",), cwd=PurePosixPath("/no/such"))))
        _, stderr, ended = await finished(process)
        assert not ended.ok
        assert b"/no/such" in stderr

    asyncio.run(scenario())


def test_upload(tmp_path: Path) -> None:
    """Bytes, files and directories arrive with their parents and modes, and replace what was there."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("x")
    (source / "deep" / "file").chmod(0o755)
    target = PurePosixPath(tmp_path / "a" / "b")

    async def scenario() -> None:
        for data in (b"one", b"two"):
            await HostExecutor().upload(
                [
                    Upload(data, target / "bytes", 0o600),
                    Upload(source, target / "dir"),
                    Upload(source / "deep/file", target / "f"),
                ]
            )
        with pytest.raises(UploadFailed):
            await HostExecutor().upload([Upload(b"", target / "bytes" / "below")])

    asyncio.run(scenario())
    assert Path(target / "bytes").read_bytes() == b"two"
    assert Path(target / "bytes").stat().st_mode & 0o777 == 0o600
    assert Path(target / "f").stat().st_mode & 0o777 == 0o755
    assert Path(target / "dir/deep/file").read_text() == "x"
    assert sorted(path.name for path in Path(target).iterdir()) == ["bytes", "dir", "f"]


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a virtual environment that is not activated, its programs come first; an activated one is left alone."""
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(sys, "prefix", "/venv")
    monkeypatch.setattr(sys, "executable", "/venv/bin/python")
    assert host_environment()["PATH"] == f"/venv/bin{os.pathsep}/usr/bin"
    monkeypatch.setenv("VIRTUAL_ENV", "/venv")
    assert host_environment()["PATH"] == "/usr/bin"
