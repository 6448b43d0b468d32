"""The loopback server's faults, on command, seen through the real SDK, with both generations of calls."""

from __future__ import annotations

import asyncio

import modal
import pytest
from loopback import Loopback, Mode, RouterMode, Status
from through_sdk import BOUND_SECS, new_app, new_sandbox, output, until

from tests.support.marks import nightly

pytestmark = pytest.mark.usefixtures("generation")

STATUSES: list[tuple[Status, int]] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("TERMINATED", 137),
    ("TIMEOUT", 124),
    ("INIT_FAILURE", 1),
    ("INTERNAL_FAILURE", 1),
    ("IDLE_TIMEOUT", 137),
    ("MEMORY_MANAGER_EVICTION", 137),
    ("MEMORY_THRASHING_EVICTION", 137),
    ("KERNEL_OOM_KILL", 137),
]


@pytest.mark.parametrize(("status", "code"), STATUSES)
async def test_each_status(loopback: Loopback, status: Status, code: int) -> None:
    """A sandbox that is killed with a status is dead for the SDK, with the exit code of that status."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        assert await sandbox.poll.aio() is None
        loopback.kill(sandbox.object_id, status=status, exitcode=code)
        assert await sandbox.poll.aio() == code


@pytest.mark.parametrize("mode", [nightly("refuse"), "hang", nightly("synhole")])
async def test_silent_router(loopback: Loopback, mode: RouterMode) -> None:
    """With a router that refuses, hangs or drops, exec does not end while the control plane answers at once."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        fresh, connected = await asyncio.gather(new_sandbox(app=app), new_sandbox(app=app))
        await output(connected, "true")
        for sandbox in (fresh, connected):
            loopback.kill(sandbox.object_id, router=mode)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sandbox.exec.aio("true"), 1)
            assert await sandbox.poll.aio() == 137


async def test_connections_to_a_hanging_router_are_counted(loopback: Loopback) -> None:
    """A call to a router that hangs is not seen as a call, but its connection is counted."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        loopback.kill(sandbox.object_id, router="hang")
        calling = asyncio.create_task(sandbox.exec.aio("true"))
        await until(lambda: loopback.calls_since_death(sandbox.object_id)["connect"] == 1)
        calling.cancel()
        assert loopback.calls_since_death(sandbox.object_id)["TaskExecStart"] == 0


async def test_stalled_router_recovers(loopback: Loopback) -> None:
    """A living sandbox whose router hung answers again afterwards, on the same connection."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        await output(sandbox, "true")
        loopback.router(sandbox.object_id, "hang")
        late = asyncio.create_task(output(sandbox, "echo", "late"))
        done, _ = await asyncio.wait({late}, timeout=1)
        assert not done
        loopback.router(sandbox.object_id, "up")
        assert await late == "late\n"


async def test_router_that_knows_no_task(loopback: Loopback) -> None:
    """With a router that is there and knows nothing of the sandbox, calls fail at once, those in flight too."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        process = await sandbox.exec.aio("sleep", "600")
        reading = asyncio.create_task(process.stdout.read.aio())
        loopback.kill(sandbox.object_id, router="gone")
        with pytest.raises(modal.exception.NotFoundError):
            await reading
        with pytest.raises(modal.exception.NotFoundError):
            await sandbox.exec.aio("true")


async def test_death_with_a_router_that_is_up(loopback: Loopback) -> None:
    """With a router that is up, a dead sandbox's commands end as killed ones, and no more are started."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        process = await sandbox.exec.aio("sh", "-c", "echo begun; sleep 600")
        assert await anext(aiter(process.stdout)) == "begun\n"
        loopback.kill(sandbox.object_id, router="up", announce=None)
        assert await process.wait.aio() == 137
        with pytest.raises(modal.exception.NotFoundError):
            await sandbox.exec.aio("true")


async def test_announced_late(loopback: Loopback) -> None:
    """A death that is not announced is unknown to the control plane, until it is, or until a terminate."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        told, ended = await asyncio.gather(new_sandbox(app=app), new_sandbox(app=app))
        waiting = asyncio.create_task(told.wait.aio(raise_on_termination=False))
        for sandbox in (told, ended):
            loopback.kill(sandbox.object_id, status="INTERNAL_FAILURE", exitcode=9, announce=None)
            assert await sandbox.poll.aio() is None
        assert len([each async for each in modal.Sandbox.list.aio(app_id=app.app_id)]) == 2
        assert not waiting.done()
        loopback.announce(told.object_id)
        await waiting
        await ended.terminate.aio()
        assert (told.returncode, await ended.poll.aio()) == (9, 9)


async def test_announced_after_a_time(loopback: Loopback) -> None:
    """A death can be announced by itself, some time after it."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        loopback.kill(sandbox.object_id, announce=0.5)
        assert await sandbox.poll.aio() is None
        await sandbox.wait.aio(raise_on_termination=False)
        assert sandbox.returncode == 137


async def test_calls_after_death_are_counted(loopback: Loopback, generation: str) -> None:
    """The calls about a sandbox are counted, from its death on too, those to its router included."""
    suffix = "V2" if generation == "v2" else ""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        await output(sandbox, "true")
        assert loopback.calls(sandbox.object_id)["TaskExecStart"] == 1
        assert loopback.calls_since_death(sandbox.object_id) == {}
        loopback.kill(sandbox.object_id, router="gone")
        await sandbox.poll.aio()
        with pytest.raises(modal.exception.NotFoundError):
            await sandbox.exec.aio("true")
        await sandbox.terminate.aio()
        expected = {f"SandboxWait{suffix}": 1, "TaskExecStart": 1, f"SandboxTerminate{suffix}": 1}
        assert loopback.calls_since_death(sandbox.object_id) == expected


@pytest.mark.parametrize("mode", ["refuse", "hang", nightly("synhole")])
async def test_control_plane_away(own_loopback: Loopback, mode: Mode) -> None:
    """With a control plane that refuses, hangs or drops, nothing is known; afterwards all is as before."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        own_loopback.control_plane(mode)
        with pytest.raises((modal.exception.ConnectionError, TimeoutError)):
            await asyncio.wait_for(sandbox.poll.aio(), 2)
        own_loopback.control_plane("up")
        assert await sandbox.poll.aio() is None
        assert await output(sandbox, "echo", "there") == "there\n"


async def test_slow_calls(own_loopback: Loopback, generation: str) -> None:
    """Calls of one method can be answered late, until that is ended; others are not touched."""
    method = "SandboxWaitV2" if generation == "v2" else "SandboxWait"
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        own_loopback.slow(method, 600)
        polling = asyncio.create_task(sandbox.poll.aio())
        await until(lambda: own_loopback.calls()[method] > 0)
        assert await sandbox.get_tags.aio() == {}
        assert not polling.done()
        polling.cancel()
        own_loopback.slow(method, 0)
        assert await sandbox.poll.aio() is None


async def test_rate_limit(own_loopback: Loopback, generation: str) -> None:
    """The next calls of a method can be refused with a gRPC status, which the SDK turns into its own exception."""
    suffix = "V2" if generation == "v2" else ""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        own_loopback.fail(f"SandboxTerminate{suffix}", "RESOURCE_EXHAUSTED", "slow down", times=1)
        with pytest.raises(modal.exception.ResourceExhaustedError, match="slow down"):
            await sandbox.terminate.aio()
        assert await sandbox.poll.aio() is None
        await sandbox.terminate.aio()
        assert await sandbox.poll.aio() == 137


async def test_rate_limit_with_a_time(own_loopback: Loopback, generation: str) -> None:
    """A refusal that says when to try again is not seen by the caller: the SDK itself tries again then."""
    method = "SandboxTerminateV2" if generation == "v2" else "SandboxTerminate"
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        own_loopback.fail(method, "RESOURCE_EXHAUSTED", times=2, retry_after=0.1)
        await sandbox.terminate.aio()
        assert own_loopback.calls(sandbox.object_id)[method] == 3
        assert await sandbox.poll.aio() == 137


async def test_every_call_fails(own_loopback: Loopback) -> None:
    """All calls can be refused, until that is ended."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        own_loopback.fail("*", "PERMISSION_DENIED")
        for _ in range(2):
            with pytest.raises(modal.exception.PermissionDeniedError):
                await sandbox.poll.aio()
        own_loopback.fail("*", "OK")
        assert await sandbox.poll.aio() is None


async def test_capacity(own_loopback: Loopback) -> None:
    """No more sandboxes live at once than there is capacity for; the end of one makes room."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        own_loopback.capacity(1)
        first = await new_sandbox(app=app)
        with pytest.raises(modal.exception.ResourceExhaustedError):
            await new_sandbox(app=app)
        await first.terminate.aio()
        second = await new_sandbox(app=app)
        own_loopback.capacity(None)
        await new_sandbox(app=app)
        assert await second.poll.aio() is None
