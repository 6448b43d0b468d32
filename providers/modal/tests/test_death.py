"""A dead sandbox is noticed while a call is in flight, whatever its worker does, and it is not called again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path, PurePosixPath

import pytest
from at_modal import PULSING, created, provider, sandbox, started
from loopback import Loopback, RouterMode, Status
from offload_modal import Tuning, _liveness
from offload_modal._sandbox import ModalSandbox

from offload_core.abc import Command, Download, Exit, LivenessSettings, SandboxRef, Upload
from offload_core.errors import ConnectionLost, SandboxDead, SandboxLost
from offload_core.kit import launched
from offload_core.liveness import DeathWatch, Poller
from tests.support.marks import nightly

ROUTERS: tuple[RouterMode, ...] = ("refuse", "hang", "synhole", "gone")
PATIENCE_SECS = 60.0


@asynccontextmanager
async def watched(tuning: Tuning | None = None) -> AsyncIterator[tuple[ModalSandbox, DeathWatch]]:
    """A sandbox that is watched as in a run, and terminated in the end."""
    async with provider(tuning=tuning) as maker, Poller(maker) as poller:
        one = await created(maker)
        try:
            async with DeathWatch(one, poller) as watch:
                yield one, watch
        finally:
            await one.terminate()


async def _exec(sandbox: ModalSandbox) -> object:
    return await sandbox.exec(launched(Command(argv=("true",))))


async def _upload(sandbox: ModalSandbox) -> None:
    await sandbox.upload([Upload(bytes(64 << 20), PurePosixPath("/tmp/file"))])


async def _download(sandbox: ModalSandbox) -> None:
    await sandbox.download([Download(PurePosixPath("/dev/fd/0"), Path("/nonexistent/file"))])


async def _output(sandbox: ModalSandbox) -> object:
    process = await started(sandbox, "echo begun; exec sleep 600")
    async for _ in process.stdout:
        pass
    return await process.wait()


async def _wait(sandbox: ModalSandbox) -> object:
    return await (await started(sandbox, "exec sleep 600")).wait()


IN_FLIGHT = {"upload": _upload, "output": _output, "wait": _wait}
AFTERWARDS = {"exec": _exec, "upload": _upload, "download": _download}


def _only_probes_and_a_terminate(server: Loopback, ref: SandboxRef, since: float) -> None:
    calls = server.calls(ref.id, since)
    assert not {name for name in calls if name.startswith("TaskExec")}, calls
    assert calls["SandboxTerminateV2"] + calls["SandboxTerminate"] <= 1, calls


@pytest.mark.parametrize("call", IN_FLIGHT)
@pytest.mark.parametrize("router", ROUTERS)
async def test_announced_death_in_flight(loopback: Loopback, router: RouterMode, call: str) -> None:
    """A call in flight ends with SandboxDead and the reason when the death is announced, however its worker behaves."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        flying = asyncio.ensure_future(IN_FLIGHT[call](one))
        await _until_begun(loopback, one.ref, "TaskExecStart", 2)
        loopback.kill(one.ref.id, status="KERNEL_OOM_KILL", router=router)
        with pytest.raises(SandboxDead, match="out of memory"):
            await flying
        since = time.monotonic()
        await one.terminate()
        _only_probes_and_a_terminate(loopback, one.ref, since)


@pytest.mark.parametrize("call", AFTERWARDS)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
@pytest.mark.parametrize("router", ROUTERS)
async def test_death_announced_before(loopback: Loopback, router: RouterMode, connected: bool, call: str) -> None:
    """A call on a sandbox whose death was announced ends with SandboxDead, and its worker is not asked."""
    async with sandbox() as one, provider() as other, asyncio.timeout(PATIENCE_SECS):
        asked = one if connected else other.attach(one.ref)
        loopback.kill(one.ref.id, router=router)
        since = time.monotonic()
        assert (await asked.probe()).is_dead
        with pytest.raises(SandboxDead, match="terminated"):
            await AFTERWARDS[call](asked)
        _only_probes_and_a_terminate(loopback, one.ref, since)


@pytest.mark.parametrize("router", ROUTERS)
async def test_death_announced_late(loopback: Loopback, router: RouterMode) -> None:
    """A call that hangs before the death is announced ends with SandboxDead as soon as it is."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "exec sleep 600")
        waiting = asyncio.create_task(process.wait())
        loopback.kill(one.ref.id, router=router, announce=None)
        assert not (await one.probe()).is_dead
        loopback.announce(one.ref.id)
        if router == "gone":  # its worker may tell first that it does not know it
            with pytest.raises((SandboxDead, ConnectionLost)):
                await waiting
        else:
            with pytest.raises(SandboxDead):
                await waiting


@pytest.mark.parametrize("router", ["refuse", "hang", "synhole"])
async def test_first_command_on_a_corpse(loopback: Loopback, router: RouterMode) -> None:
    """A command that cannot connect ends with SandboxDead when the death is announced, not when the SDK gives up."""
    async with sandbox() as one, provider() as other, asyncio.timeout(PATIENCE_SECS):
        loopback.kill(one.ref.id, router=router, announce=None)
        unconnected = other.attach(one.ref)
        starting = [asyncio.ensure_future(_exec(unconnected)) for _ in range(2)]
        await _until_begun(loopback, one.ref, "SandboxGetCommandRouterAccess", 1)
        loopback.announce(one.ref.id)
        for start in starting:
            with pytest.raises(SandboxDead):
                await start


@pytest.mark.parametrize("router", ["refuse", nightly("hang"), nightly("synhole")])
async def test_death_never_announced(loopback: Loopback, router: RouterMode) -> None:
    """A command whose worker stays silent is lost in the end, though Modal says that the sandbox lives."""
    async with sandbox(tuning=PULSING) as one, asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "echo begun; exec sleep 600")
        loopback.kill(one.ref.id, router=router, announce=None)
        async for _ in process.stdout:
            pass
        with pytest.raises(ConnectionLost, match="does not answer"):
            await process.wait()


@pytest.mark.parametrize("router", ["hang", nightly("refuse"), nightly("synhole"), nightly("gone")])
async def test_silent_worker_is_lost(loopback: Loopback, router: RouterMode) -> None:
    """A sandbox whose worker is silent is lost after `lost_after_secs`; until then no command of it seems to end."""
    async with watched(PULSING) as (one, watch), asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "echo begun; exec sleep 600")
        await anext(process.stdout)
        reading = asyncio.ensure_future(anext(process.stdout, b""))
        ending = asyncio.ensure_future(process.wait())
        loopback.kill(one.ref.id, router=router, announce=None)
        loss = await asyncio.shield(watch.gone)
        assert isinstance(loss, SandboxLost)
        assert "its worker" in loss.message
        assert not reading.done()
        assert not ending.done()
        with pytest.raises(ConnectionLost):
            await ending
        assert await reading == b""


async def test_worker_that_comes_back(loopback: Loopback) -> None:
    """A worker that is silent for a moment loses nothing: the probe is unknown, then alive, and the command goes on."""
    patient = LivenessSettings(interval_secs=0.1, timeout_secs=1.0, lost_after_secs=60.0)
    async with sandbox(patient, PULSING) as one, asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "read -r line; echo $line")
        loopback.router(one.ref.id, "hang")
        while not (await one.probe()).is_unknown:
            pass
        loopback.router(one.ref.id, "up")
        while (await one.probe()).is_unknown:
            pass
        await process.write(b"still there\n")
        assert await anext(process.stdout) == b"still there\n"
        assert await process.wait() == Exit(0)


async def test_clean_looking_end_is_no_success(loopback: Loopback) -> None:
    """A stream that ends because the sandbox died is followed by an error, never by an exit."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "echo begun; exec sleep 600")
        text = await anext(process.stdout)
        loopback.kill(one.ref.id, status="SUCCESS", exitcode=0, router="hang")
        assert text == b"begun\n"
        assert [chunk async for chunk in process.stdout] == []
        with pytest.raises(SandboxDead):
            await process.wait()


@pytest.mark.parametrize(
    ("status", "exitcode", "words", "memory"),
    [
        ("SUCCESS", 0, "its main process ended (exit code 0)", False),
        ("FAILURE", 7, "its main process failed (exit code 7)", False),
        ("TERMINATED", 137, "terminated", False),
        ("TIMEOUT", 124, "its lifetime was over", False),
        ("INIT_FAILURE", 1, "it could not be started (exit code 1)", False),
        ("INTERNAL_FAILURE", 1, "an internal failure at Modal (exit code 1)", False),
        ("IDLE_TIMEOUT", 137, "it was idle for too long (exit code 137)", False),
        ("MEMORY_MANAGER_EVICTION", 137, "evicted: out of memory (exit code 137)", True),
        ("MEMORY_THRASHING_EVICTION", 137, "evicted: it was short of memory", True),
        ("KERNEL_OOM_KILL", 137, "killed: out of memory (exit code 137)", True),
    ],
)
async def test_reasons(
    loopback: Loopback, generation: str, status: Status, exitcode: int, words: str, memory: bool
) -> None:
    """Each way to die is told in words, by the probe of another process and by the push."""
    async with sandbox() as one, provider() as other, asyncio.timeout(PATIENCE_SECS):
        waiting = asyncio.create_task(one.wait_dead())
        loopback.kill(one.ref.id, status=status, exitcode=exitcode)
        for answer in (await waiting, await other.attach(one.ref).probe()):
            assert answer.is_dead
            assert answer.reason.startswith(words)
            assert answer.out_of_memory is memory
            assert answer.exit_code == exitcode


async def test_reason_without_the_private_result(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK has no such result, a death is told by its exit code."""
    from modal._utils import async_utils

    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        loopback.kill(one.ref.id, status="FAILURE", exitcode=7)
        handle = await one.handle()
        await handle.poll.aio()
        monkeypatch.delattr(async_utils, "synchronizer")
        assert _liveness.state_of(handle).reason == "exit code 7"
        assert _liveness.state_of(handle).is_dead


async def test_control_plane_away_is_not_death(own_loopback: Loopback) -> None:
    """A control plane that refuses makes a sandbox lost after a while, never dead; when it is back, so is the push."""
    async with watched() as (one, watch), asyncio.timeout(PATIENCE_SECS):
        waiting = asyncio.create_task(one.wait_dead())
        own_loopback.control_plane("refuse")
        assert isinstance(await asyncio.shield(watch.gone), SandboxLost)
        assert not waiting.done()
        own_loopback.control_plane("up")
        own_loopback.kill(one.ref.id)
        assert (await waiting).is_dead


async def test_beyond_the_pushes(loopback: Loopback) -> None:
    """Sandboxes beyond the number of pushes are watched by listings, and their deaths noticed all the same."""
    tuning = Tuning(pushes_at_once=1, bulk_from=2)
    async with asyncio.timeout(PATIENCE_SECS), provider(tuning=tuning) as maker, Poller(maker) as poller:
        several = [await created(maker, name=str(number)) for number in range(3)]
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(DeathWatch(one, poller)) for one in several]
            waiting = [asyncio.create_task(one.wait_dead()) for one in several]
            before = loopback.calls()["SandboxListV2"]
            assert [loopback.calls(one.ref.id)["SandboxWaitV2"] > 0 for one in several] == [True, False, False]
            for one in several[1:]:
                loopback.kill(one.ref.id, status="IDLE_TIMEOUT")
            for answer in await asyncio.gather(*waiting[1:]):
                assert answer.reason.startswith("it was idle")
            assert not waiting[0].done()
            assert [watch.gone.done() for watch in watches] == [False, True, True]
            assert loopback.calls()["SandboxListV2"] > before
            await several[0].terminate()
            assert (await waiting[0]).is_dead


async def test_a_push_is_handed_on(loopback: Loopback) -> None:
    """When a sandbox that is watched by a push has died, another one is, though nobody asks for all of them."""
    async with provider(tuning=Tuning(pushes_at_once=1)) as maker, asyncio.timeout(PATIENCE_SECS):
        several = [await created(maker, name=str(number)) for number in range(2)]
        waiting = [asyncio.create_task(one.wait_dead()) for one in several]
        for one, answer in zip(several, waiting, strict=True):
            loopback.kill(one.ref.id, status="IDLE_TIMEOUT")
            assert (await answer).reason.startswith("it was idle")


async def test_cancelled_read_loses_nothing(loopback: Loopback) -> None:
    """A read that is cancelled while it waits leaves the output to the next one."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        process = await started(one, "read -r line; echo $line")
        reading = asyncio.ensure_future(anext(process.stdout))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await process.write(b"all of it\n")
        assert b"".join([chunk async for chunk in process.stdout]) == b"all of it\n"
        assert await process.wait() == Exit(0)


async def _until_begun(server: Loopback, ref: SandboxRef, method: str, count: int) -> None:
    pause = 0.001
    while server.calls(ref.id)[method] < count:
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.1)
