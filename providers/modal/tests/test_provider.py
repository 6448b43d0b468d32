"""What a provider does besides the contract's minimum: tags, limits, costs, and what `doctor` is told."""

from __future__ import annotations

import asyncio
import math

import pytest
from at_modal import created, provider
from loopback import Loopback
from offload_modal import ModalOptions

from offload_core.abc import Command, SandboxRef, Severity
from offload_core.config.schema import RetryTable
from offload_core.errors import CapacityExhausted
from offload_core.kit import run_command
from offload_core.retry import RetryPolicy

PATIENCE_SECS = 60.0


async def test_tags_are_part_of_the_creation(loopback: Loopback, generation: str) -> None:
    """A sandbox has its tags from the call that makes it, in a form that Modal takes; none is set later."""
    async with provider() as maker:
        one = await created(maker, run_id="a run/ü", project="my project", name="n" * 100)
        tags = next(state.tags for state in loopback.sandboxes() if state.id == one.ref.id)
        assert tags["offload-run"] == "a-run--"
        assert tags["offload-project"] == "my-project"
        assert tags["offload-name"] == "n" * 63
        assert math.isclose(float(tags["offload-expires"]), one.ref.expires or 0)
        assert [ref.id for ref in await maker.list("a run/ü")] == [one.ref.id]
        assert not {name for name in loopback.calls(one.ref.id) if "TagsSet" in name}
        await one.terminate()


async def test_no_capacity(own_loopback: Loopback) -> None:
    """Where Modal has no room, it is said as such, and may be tried again."""
    own_loopback.capacity(1)
    async with provider() as maker:
        one = await created(maker)
        with pytest.raises(CapacityExhausted) as caught:
            await created(maker)
        assert maker.is_retryable(caught.value)
        await one.terminate()
        await (await created(maker)).terminate()


async def test_rate_limit_of_terminations(own_loopback: Loopback, generation: str) -> None:
    """What hits the rate limit is told as such, so that the one policy for retries tries it again, more slowly."""
    method = "SandboxTerminate" if generation == "v1" else "SandboxTerminateV2"
    async with provider() as maker:
        policy = RetryPolicy(maker, RetryTable(initial_wait_secs=0.05))
        several = [await created(maker) for _ in range(4)]
        own_loopback.fail(method, "RESOURCE_EXHAUSTED", times=6)
        assert await policy.terminate_all([one.ref for one in several]) == {}
        assert not any(state.alive for state in own_loopback.sandboxes())
        last = await created(maker)
        own_loopback.fail(method, "RESOURCE_EXHAUSTED")
        failed = await policy.terminate_all([last.ref])
        assert set(failed) == {last.ref}
        assert isinstance(failed[last.ref], CapacityExhausted)
        own_loopback.fail(method, "OK")
        assert await maker.terminate_many([last.ref]) == {}


async def test_creation_that_is_cancelled_late(loopback: Loopback, generation: str) -> None:
    """A creation that is cancelled while Modal works on it is finished, and what it made is ended."""
    async with provider() as maker, asyncio.timeout(PATIENCE_SECS):
        loopback.slow("TaskExecStart", 0.3)
        creating = asyncio.create_task(created(maker, run_id="cancelled"))
        while not await maker.list("cancelled"):
            pass
        creating.cancel()
        await asyncio.wait({creating})
        assert creating.cancelled()
        loopback.slow("TaskExecStart", 0)
    left = [state for state in loopback.sandboxes() if state.tags.get("offload-run") == "cancelled" and state.alive]
    assert not left, "aclose waits until it is ended"


async def test_idle_sandbox(loopback: Loopback) -> None:
    """Modal ends a sandbox that does nothing, where that was asked for."""
    async with provider(idle_timeout_secs=1) as maker, asyncio.timeout(PATIENCE_SECS):
        one = await created(maker)
        assert (await one.wait_dead()).reason.startswith("it was idle for too long")


async def test_resources(loopback: Loopback) -> None:
    """Cores, memory, region and a GPU, which only the first generation has, are accepted."""
    async with provider(gpu="T4", cpu_cores=2, memory_gb=1.5, region="eu") as maker:
        one = await created(maker)
        assert (await run_command(one, Command(argv=("true",)))).exit.ok
        await one.terminate()
    async with provider(experimental_options={"answer": 42}) as maker:
        await (await created(maker)).terminate()


async def test_cost() -> None:
    """An estimate is the reserved cores' price, and says what it leaves out."""
    async with provider(cpu_cores=2, price_per_cpu_second=0.5) as maker:
        cost = maker.cost(SandboxRef(id="any"), 10)
        assert cost.amount == 10
        assert "memory" in cost.leaves_out


async def test_doctor(own_loopback: Loopback) -> None:
    """`check` says whether Modal answers, makes nothing, and says what to do where it does not."""
    async with provider() as maker:
        health = await maker.check()
        assert health.ok
        assert "made by the first run" in health.findings[0].what
        assert (await maker.list()) == []
        assert "there is the app" in (await maker.check()).findings[0].what
        own_loopback.control_plane("refuse")
        (finding,) = (await maker.check()).findings
        assert finding.severity is Severity.ERROR
        assert finding.remedy
        own_loopback.control_plane("up")


def test_bad_options() -> None:
    """What cannot be meant is refused with the key's name."""
    for options, name in (({"copy_dirs": ("only",)}, "copy_dirs"), ({"cpu_cores": 0}, "cpu_cores")):
        with pytest.raises(ValueError, match=name):
            ModalOptions(**options)
