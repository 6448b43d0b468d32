"""Commands that a process of this machine is, or speaks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePath

import pytest
from attrs import frozen

from offload_core.abc import (
    Command,
    Context,
    Exit,
    Liveness,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec as Spec,
)
from offload_core.errors import ConnectionLost, ExecFailed
from offload_core.kit import ClientProcess, inherited_environment, launched

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the default kill looks under /proc")


@frozen
class Options:
    """None."""


class Here(Provider[Options]):
    """This machine."""

    Options = Options

    async def create(self, spec: Spec) -> Sandbox:
        """A handle."""
        return self.attach(SandboxRef(id=spec.name))

    def attach(self, ref: SandboxRef) -> Sandbox:
        """A handle."""
        return Machine(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """Nothing."""
        return []


class Machine(Sandbox):
    """Every command runs behind a client, a shell that starts it and stays."""

    client: tuple[str, ...] = ("sh", "-c", '"$@"; exit $?', "client")
    cwd: PurePath | None = None
    terminated = False

    async def exec(self, command: Command) -> ClientProcess:
        """Through the client."""
        env = {**inherited_environment(), **command.env}
        return await ClientProcess.start(self, command, (*self.client, *command.argv), env=env, cwd=self.cwd)

    async def probe(self) -> Liveness:
        """Alive."""
        return Liveness.alive()

    async def terminate(self) -> None:
        """Note that it was asked for."""
        self.terminated = True


def on_machine(check: Callable[[Machine], Awaitable[None]]) -> None:
    """Run a check on a machine."""
    asyncio.run(_checked(check))


async def _checked(check: Callable[[Machine], Awaitable[None]]) -> None:
    await check(Machine(Here(Options(), Context()), SandboxRef(id="here")))


def script(text: str) -> Command:
    """A shell script, as the core starts it."""
    return launched(Command(argv=("sh", "-c", text)))


def test_streams_and_exit() -> None:
    """Input, both outputs and the exit are the command's; an exit by signal is told as such."""

    async def check(machine: Machine) -> None:
        done = await machine.run(Command(argv=("sh", "-c", "cat; echo err >&2; exit 3")), b"in")
        assert (done.stdout, done.stderr, done.exit) == (b"in", b"err\n", Exit(3))
        machine.client = ()
        assert (await machine.run(Command(argv=("sh", "-c", "kill -9 $$")))).exit == Exit(signal=9)

    on_machine(check)


def test_kill_ends_client_and_command() -> None:
    """The client, which an override of `kill` alone would leave or which alone would leave the command."""

    async def check(machine: Machine) -> None:
        process = await machine.exec(script("echo $$; exec sleep 600"))
        pid = int(await anext(aiter(process.stdout)))
        await process.kill()
        assert await process.wait() == Exit(signal=9)
        assert not _runs(pid)
        await process.kill()
        assert not machine.terminated

    on_machine(check)


def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """Neither the client nor what it has started, at whatever moment; and the sandbox is not ended for it."""

    async def check(machine: Machine) -> None:
        for moment in range(6):
            note = tmp_path / str(moment)
            starting = asyncio.create_task(
                machine.exec(script(f"echo $$ >{note}.new; mv {note}.new {note}; sleep 600"))
            )
            for _ in range(moment):
                await asyncio.sleep(0)
            starting.cancel()
            outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
            assert isinstance(outcome, (asyncio.CancelledError, Process))
            if isinstance(outcome, Process):
                await outcome.kill()
            assert not note.exists() or not _runs(int(note.read_text()))
        assert not machine.terminated

    on_machine(check)


def test_what_cannot_start() -> None:
    """No such program here, no such directory here: ExecFailed, with its name."""

    async def check(machine: Machine) -> None:
        machine.client = ("/no/such/client",)
        with pytest.raises(ExecFailed, match="/no/such/client"):
            await machine.exec(script("true"))
        machine.client, machine.cwd = (), PurePath("/no/such/directory")
        with pytest.raises(ExecFailed, match="/no/such/directory"):
            await machine.exec(script("true"))

    before = len(list(Path("/proc/self/fd").iterdir()))
    on_machine(check)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_writing_to_what_has_ended() -> None:
    """ConnectionLost, as from any other process."""

    async def check(machine: Machine) -> None:
        process = await machine.exec(script("exit 0"))
        await process.wait()
        with pytest.raises(ConnectionLost):
            await process.write(b"x")
        await process.close_stdin()

    on_machine(check)


def test_a_command_without_a_mark_is_not_abandoned_by_ending_its_sandbox() -> None:
    """It is one that kills, and ends by itself: a cancelled kill must not cost the sandbox."""

    async def check(machine: Machine) -> None:
        process = await machine.exec(Command(argv=("true",)))
        await process.abandon()
        assert await process.wait() == Exit(0)
        assert not machine.terminated

    on_machine(check)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
