"""Commands that are processes of this machine, or that one speaks for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import tracemalloc
from pathlib import Path, PurePath, PurePosixPath

import pytest
from typing_extensions import override

from offload_core.abc import Command, Completed, Context, Exit, Liveness, Process, SandboxRef
from offload_core.errors import ConnectionLost, ExecFailed
from offload_core.kit import ClientProcess, HostProcess, ShellSandbox, inherited_environment, launched, run_command

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up under /proc")

GRANDCHILD = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"


class Machine(ShellSandbox):
    """This machine. Every command runs behind a client, a shell that starts it and stays."""

    client: tuple[str, ...] = ("sh", "-c", '"$@"; exit $?', "client")
    cwd: PurePath | None = None
    terminated = False

    @override
    async def exec(self, command: Command) -> ClientProcess:
        """Through the client."""
        env = {**inherited_environment(), **command.env}
        return await ClientProcess.start(self, command, (*self.client, *command.argv), env=env, cwd=self.cwd)

    @override
    async def probe(self) -> Liveness:
        """Alive."""
        return Liveness.alive()

    @override
    async def terminate(self) -> None:
        """Note that it was asked for."""
        self.terminated = True


@pytest.fixture
def machine() -> Machine:
    """This one."""
    return Machine(SandboxRef(id="here"), Context())


def script(text: str, **env: str) -> Command:
    """A shell script, as the core starts it."""
    return launched(Command(argv=("sh", "-c", text), env=env, cwd=PurePosixPath("/")))


async def finished(process: Process) -> Completed:
    """What it wrote, and how it ended."""
    async with asyncio.timeout(60):
        return await process.communicate()


async def descriptors() -> int:
    """How many are open, once what nobody has any more is closed."""
    await asyncio.sleep(0.01)
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# A process of this machine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("exit 0", Exit(code=0)), ("exit 42", Exit(code=42)), ("kill -TERM $$", Exit(signal=15))],
)
async def test_exit(text: str, expected: Exit) -> None:
    """Exit codes and signals are told apart."""
    process = await HostProcess.start(script(text))
    assert (await finished(process)).exit == expected
    assert await process.wait() == expected


async def test_streams() -> None:
    """Standard input, output and error work at once, for more than any buffer holds; variables and directory arrive."""
    process = await HostProcess.start(script('cat; printf "%s" "$WORD" >&2; pwd >&2', WORD="it's"))
    async with asyncio.timeout(60):
        done = await process.communicate([b"x" * (5 << 20)])
    assert done == Completed(Exit(0), b"x" * (5 << 20), b"it's/\n")
    await process.close_stdin()


async def test_environment_and_directory(tmp_path: Path) -> None:
    """Its own variables come on top of what it is given; its own directory counts before another."""
    command = Command(argv=("/bin/sh", "-c", 'pwd; echo "$A $B"; env | grep -c "^HOME="'), env={"B": "own"})
    process = await HostProcess.start(command, env={"A": "a", "B": "b"}, cwd=tmp_path)
    assert (await finished(process)).stdout == f"{tmp_path}\na own\n0\n".encode()
    process = await HostProcess.start(Command(argv=("pwd",), cwd=PurePosixPath("/")), cwd=tmp_path)
    assert (await finished(process)).stdout == b"/\n"


async def test_output_nobody_reads_is_bounded() -> None:
    """A process whose output nobody reads waits in its pipe instead of filling memory, and goes on when it is read."""
    process = await HostProcess.start(script("head -c 50000000 /dev/zero"))
    total = len(await anext(process.stdout))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert total <= 1 << 20
    tracemalloc.start()
    try:
        async with asyncio.timeout(60):
            async for chunk in process.stdout:
                total += len(chunk)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert total == 50_000_000
    assert (await process.wait()).ok


async def test_write_to_one_that_has_ended() -> None:
    """Writing to a process that does not read any more is a lost connection."""
    process = await HostProcess.start(script("exit 0"))
    await finished(process)
    with pytest.raises(ConnectionLost):
        await process.write(b"x")
    process = await HostProcess.start(script("exec <&-; sleep 600"))
    with pytest.raises(ConnectionLost):
        await process.write(b"x" * 10_000_000)
    await process.kill()


@needs_proc
async def test_kill_reaches_descendants() -> None:
    """`kill` ends the process, its group, and a grandchild that made itself a session of its own; twice is fine."""
    process = await HostProcess.start(script(f"{sys.executable} -c '{GRANDCHILD}' & sleep 600"))
    async with asyncio.timeout(60):
        pid = int(await anext(process.stdout))
        await process.kill()
        await process.kill()
        assert await process.wait() == Exit(signal=9)
    assert (await finished(process)).exit == Exit(signal=9)
    assert not runs(pid)


@needs_proc
async def test_streams_end_whoever_holds_them() -> None:
    """After `kill`, with what was written by then: also if something that cannot be found has them open."""
    holding = f"{sys.executable} -c '{GRANDCHILD}' & exec sleep 600"
    process = await HostProcess.start(Command(argv=("sh", "-c", holding)))  # without a mark
    async with asyncio.timeout(60):
        pid = int(await anext(process.stdout))
        try:
            assert not (reading := asyncio.create_task(finished(process))).done()
            await process.kill()
            assert (await reading).exit == Exit(signal=9)
            assert runs(pid)
        finally:
            os.kill(pid, signal.SIGKILL)


@needs_proc
@pytest.mark.parametrize("moment", range(8))
async def test_a_start_that_is_cancelled_leaves_no_process(moment: int, tmp_path: Path) -> None:
    """At whatever moment: when the call has ended, so has what it began, and nothing is open any more."""
    note, before = tmp_path / "pid", await descriptors()
    starting = asyncio.create_task(HostProcess.start(script(f"echo $$ >{note}; exec sleep 600")))
    for _ in range(moment):
        await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await starting).kill()
    assert not (text := note.read_text() if note.exists() else "") or not runs(int(text))
    del starting
    assert await descriptors() == before


@needs_proc
async def test_no_such_program() -> None:
    """It is said by name, and nothing is left open."""
    before = await descriptors()
    with pytest.raises(ExecFailed, match="/no/such"):
        await HostProcess.start(Command(argv=("/no/such",)))
    with pytest.raises(ExecFailed, match="/no/such"):
        await HostProcess.start(Command(argv=("true",)), cwd=PurePath("/no/such"))
    assert await descriptors() == before


# A client -------------------------------------------------------------------------------------------------------------


async def test_a_client_hands_on_streams_and_exit(machine: Machine) -> None:
    """Input, both outputs and the exit are the command's; an exit by signal is told as such."""
    done = await run_command(machine, Command(argv=("sh", "-c", "cat; echo err >&2; exit 3")), b"in")
    assert (done.stdout, done.stderr, done.exit) == (b"in", b"err\n", Exit(3))
    machine.client = ()
    assert (await run_command(machine, Command(argv=("sh", "-c", "kill -9 $$")))).exit == Exit(signal=9)


@needs_proc
async def test_kill_ends_client_and_command(machine: Machine) -> None:
    """The client, which an override of `kill` alone would leave or which alone would leave the command."""
    process = await machine.exec(script("echo $$; exec sleep 600"))
    pid = int(await anext(aiter(process.stdout)))
    await process.kill()
    assert await process.wait() == Exit(signal=9)
    assert not runs(pid)
    await process.kill()
    assert not machine.terminated


@needs_proc
@pytest.mark.parametrize("moment", range(6))
async def test_a_client_whose_start_is_cancelled_leaves_nothing(machine: Machine, moment: int, tmp_path: Path) -> None:
    """Neither it nor what it has started, at whatever moment; and the sandbox is not ended for it."""
    note = tmp_path / "pid"
    starting = asyncio.create_task(machine.exec(script(f"echo $$ >{note}.new; mv {note}.new {note}; sleep 600")))
    for _ in range(moment):
        await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await starting).kill()
    assert not note.exists() or not runs(int(note.read_text()))
    assert not machine.terminated


async def test_a_client_that_cannot_start(machine: Machine) -> None:
    """No such program here, no such directory here: ExecFailed, with its name and the sandbox's."""
    machine.client = ("/no/such/client",)
    with pytest.raises(ExecFailed, match="/no/such/client") as raised:
        await machine.exec(script("true"))
    assert raised.value.sandbox == "here"
    machine.client, machine.cwd = (), PurePath("/no/such/directory")
    with pytest.raises(ExecFailed, match="/no/such/directory"):
        await machine.exec(script("true"))


async def test_writing_to_a_client_that_has_ended(machine: Machine) -> None:
    """ConnectionLost, as from any other process."""
    process = await machine.exec(script("exit 0"))
    await process.wait()
    with pytest.raises(ConnectionLost):
        await process.write(b"x")
    await process.close_stdin()


async def test_a_command_without_a_mark_is_not_abandoned_by_ending_its_sandbox(machine: Machine) -> None:
    """It is one that kills, and ends by itself: a cancelled kill must not cost the sandbox."""
    process = await machine.exec(Command(argv=("true",)))
    await process.abandon()
    assert await process.wait() == Exit(0)
    assert not machine.terminated


def runs(pid: int) -> bool:
    """Whether a process runs; what is dead but not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
