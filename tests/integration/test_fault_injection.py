"""The fault-injecting provider does what its plan says, says what it did, and keeps the contract while it does it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import (
    Command,
    Context,
    Download,
    Liveness,
    LivenessSettings,
    Process,
    Sandbox,
    SandboxSpec,
    Upload,
)
from offload_core.errors import (
    CapacityExhausted,
    ConnectionLost,
    OperationTimedOut,
    ProviderError,
    SandboxDead,
    UploadFailed,
)
from offload_core.kit import run_command
from offload_core.liveness import Poller
from offload_core.testing import Fault, FaultPlan, FaultyProvider, Injected

WITHIN = 30.0


@contextlib.asynccontextmanager
async def _faulty(plan: FaultPlan, seed: int = 0) -> AsyncIterator[FaultyProvider]:
    """A faulty provider over local, that leaves nothing."""
    liveness = LivenessSettings(interval_secs=0.01, timeout_secs=0.2)
    inner = LocalProvider(LocalOptions(), Context(name="local", project_dir=Path("/"), liveness=liveness))
    provider = FaultyProvider(inner, plan, seed)
    async with provider:
        try:
            async with asyncio.timeout(WITHIN):
                yield provider
        finally:
            assert await inner.terminate_many(await inner.list("faults")) == {}


def _spec(name: str = "s") -> SandboxSpec:
    return SandboxSpec(name=name, run_id="faults", lifetime=600.0)


_RATES = dict.fromkeys(("fail", "kill", "capacity", "unknown", "truncate", "tear"), 0.1)
_EVERY = FaultPlan(delay=0.3, max_delay_secs=0.001, **_RATES)  # type: ignore[arg-type]


async def _use(provider: FaultyProvider) -> list[str]:
    """A fixed sequence of calls, and how each ended."""
    outcomes = []

    async def attempt(call: Awaitable[object]) -> object:
        try:
            result = await call
        except ProviderError as error:
            outcomes.append(type(error).__name__)
            return None
        outcomes.append("ok")
        return result

    for number in range(6):
        sandbox = await attempt(provider.create(_spec(f"s{number}")))
        if isinstance(sandbox, Sandbox):
            for _ in range(3):
                await attempt(sandbox.upload([Upload(b"x", sandbox.scratch / "x")]))
                await attempt(run_command(sandbox, Command(argv=("head", "-c", "50000", "/dev/zero"))))
                await attempt(sandbox.probe())
            await attempt(sandbox.terminate())
    return outcomes


async def test_same_seed_same_faults() -> None:
    """The same seed injects the same faults into the same calls; another seed injects others."""

    async def run(seed: int) -> Sequence[Injected]:
        async with _faulty(_EVERY, seed) as provider:
            await _use(provider)
            return provider.injected

    first, again, other = await run(1), await run(1), await run(2)
    assert first == again
    assert first != other
    assert {injected.fault for injected in (*first, *other)} >= {Fault.FAIL, Fault.KILL, Fault.DELAY}


async def test_faults_do_not_depend_on_the_order_of_sandboxes() -> None:
    """Sandboxes that run at the same time get the faults that they get one after the other."""

    async def one(provider: FaultyProvider, name: str) -> None:
        with contextlib.suppress(ProviderError):
            sandbox = await provider.create(_spec(name))
            for _ in range(5):
                with contextlib.suppress(ProviderError):
                    await sandbox.upload([Upload(b"x", sandbox.scratch / "x")])

    names = [f"s{number}" for number in range(8)]
    plan = FaultPlan(fail=0.3, delay=0.5, max_delay_secs=0.002)
    async with _faulty(plan, 7) as together:
        await asyncio.gather(*(one(together, name) for name in names))
    async with _faulty(plan, 7) as apart:
        for name in names:
            await one(apart, name)
    for name in names:
        told = [[each for each in run.injected if each.sandbox == name] for run in (together, apart)]
        assert told[0] == told[1]


async def test_no_faults() -> None:
    """Without rates nothing is injected."""
    async with _faulty(FaultPlan()) as provider:
        assert set(await _use(provider)) == {"ok"}
        assert provider.injected == ()


async def test_fail() -> None:
    """Calls fail with the errors of their operation, before or after their effect; a failed create leaves nothing."""
    effects, errors = set(), set()
    async with _faulty(FaultPlan(fail=1.0, operations={"upload"})) as provider:
        sandbox = await provider.create(_spec())
        for number in range(20):
            target = sandbox.scratch / str(number)
            with pytest.raises((UploadFailed, ConnectionLost, OperationTimedOut)) as caught:
                await sandbox.upload([Upload(b"x", target)])
            assert provider.is_retryable(caught.value)
            errors.add(type(caught.value))
            effects.add(await asyncio.to_thread(Path(target).exists))
    assert effects == {True, False}
    assert len(errors) == 3
    async with _faulty(FaultPlan(fail=1.0, operations={"create"})) as provider:
        for number in range(10):
            with pytest.raises(ProviderError):
                await provider.create(_spec(f"s{number}"))
        assert await provider.list("faults") == []


async def test_capacity_and_most() -> None:
    """`most` ends the faults: then everything works."""
    async with _faulty(FaultPlan(capacity=1.0, most=2)) as provider:
        for _ in range(2):
            with pytest.raises(CapacityExhausted):
                await provider.create(_spec())
        await (await provider.create(_spec())).terminate()
        assert provider.injected == (Injected("create", "s", Fault.CAPACITY),) * 2


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.TRUNCATE, Fault.TEAR])
async def test_faults_in_a_running_command(fault: Fault) -> None:
    """After some output the sandbox dies, the command is torn, or only its output ends: each as the contract has it."""
    async with _faulty(FaultPlan(**{fault.value: 1.0}, operations={"exec"})) as provider:  # type: ignore[arg-type]
        sandbox = await provider.create(_spec())
        process = await sandbox.exec(Command(argv=("cat", "/dev/zero")))
        size = sum([len(chunk) async for chunk in process.stdout])
        assert size <= 100_000
        assert provider.injected == (Injected("exec", "s", fault),)
        await _ended(fault, sandbox, process)


async def _ended(fault: Fault, sandbox: Sandbox, process: Process) -> None:
    if fault is Fault.KILL:
        assert (await sandbox.wait_dead()).is_dead
        with pytest.raises(SandboxDead):
            await process.wait()
        return
    assert not (await sandbox.probe()).is_dead
    if fault is Fault.TEAR:
        for call in (process.wait(), process.write(b"x")):
            with pytest.raises(ConnectionLost):
                await call
    else:
        await process.kill()
        assert (await process.wait()).signal == 9


async def test_kill_at_create_and_upload() -> None:
    """A sandbox that is killed is really dead, and everybody can know."""
    for operation in ("create", "upload"):
        async with _faulty(FaultPlan(kill=1.0, operations={operation})) as provider:
            sandbox = await provider.create(_spec())
            with pytest.raises(SandboxDead):
                await sandbox.upload([Upload(b"x", sandbox.scratch / "x")])
            assert (await sandbox.wait_dead()).is_dead
            assert provider.injected == (Injected(operation, "s", Fault.KILL),)


async def test_unknown_for_a_while() -> None:
    """Probes cannot find out as often as planned, by whatever call; then the truth is told again."""
    async with _faulty(FaultPlan(unknown=1.0, unknown_probes=3, most=1)) as provider:
        sandbox = await provider.create(_spec())
        one = [(await sandbox.probe()).status for _ in range(2)]
        many = [(await provider.probe_many([sandbox.ref]))[sandbox.ref].status for _ in range(2)]
        assert [*one, *many] == ["unknown", "unknown", "unknown", "alive"]


@pytest.mark.parametrize("operation", ["exec", "download", "probe", "wait_dead", "list", "terminate"])
async def test_hang(operation: str) -> None:
    """A call that hangs hangs until it is cancelled, and then nothing of it is left."""
    async with _faulty(FaultPlan(hang=1.0, operations={operation}, most=1)) as provider:
        sandbox = await provider.create(_spec())
        await sandbox.upload([Upload(b"x", sandbox.scratch / "x")])
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "exec": lambda: sandbox.exec(Command(argv=("true",))),
            "download": lambda: sandbox.download([Download(sandbox.scratch / "x", Path("/dev/null/no"))]),
            "probe": sandbox.probe,
            "wait_dead": sandbox.wait_dead,
            "list": lambda: provider.list("faults"),
            "terminate": sandbox.terminate,
        }
        calling = asyncio.ensure_future(calls[operation]())
        while not provider.injected:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await sandbox.exec(Command(argv=("true",)))
        assert not calling.done()
        calling.cancel()
        await asyncio.wait({calling})
        assert calling.cancelled()
        await provider.attach(sandbox.ref).terminate()
        assert (await sandbox.probe()).is_dead


async def test_lost_push_and_failing_termination() -> None:
    """A push that breaks raises ConnectionLost, and polling still tells; a termination that fails can be repeated."""
    async with _faulty(FaultPlan(fail=1.0, operations={"wait_dead", "terminate"}, most=2)) as provider:
        sandbox = await provider.create(_spec())
        with pytest.raises(ConnectionLost):
            await sandbox.wait_dead()
        assert set(await provider.terminate_many([sandbox.ref])) == {sandbox.ref}
        assert await provider.terminate_many([sandbox.ref]) == {}
        told: asyncio.Queue[Liveness] = asyncio.Queue()
        async with Poller(provider) as poller:
            with poller.listening(sandbox.ref, told.put_nowait):
                assert (await told.get()).is_dead
