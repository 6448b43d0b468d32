"""The retry policy: what is tried again, how often, how long, and what ends it at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from attrs import define, field

from offload_core import errors
from offload_core.abc import Context, Liveness, LivenessSettings, SandboxRef
from offload_core.config.schema import RetryTable
from offload_core.errors import (
    CapacityExhausted,
    ConnectionLost,
    CreateFailed,
    NotFound,
    OperationTimedOut,
    ProviderError,
    SandboxDead,
    SandboxLost,
    UploadFailed,
)
from offload_core.events import RetryWaiting
from offload_core.kit import END_SECS
from offload_core.liveness import DeathWatch, Poller
from offload_core.retry import RetryPolicy
from tests.support.simulated_backend import Backend, MemoryProvider, MemorySandbox
from tests.support.virtual_time import run_virtually

RETRYABLE = {
    "ProviderError": False,
    "CreateFailed": True,
    "PrepareFailed": False,
    "ExecFailed": False,
    "UploadFailed": True,
    "DownloadFailed": True,
    "RemoteFileMissing": False,
    "NotFound": False,
    "ConnectionLost": True,
    "OperationTimedOut": True,
    "CapacityExhausted": True,
    "AuthenticationFailed": False,
    "SandboxDead": False,
    "SandboxLost": False,
}
SETTINGS = RetryTable(
    attempts=4, initial_wait_secs=1.0, max_wait_secs=3.0, deadline_secs=1000.0, call_timeout_secs=60.0
)
LIVENESS = LivenessSettings(interval_secs=1.0, timeout_secs=2.0, lost_after_secs=5.0)


@define
class World:
    """A sandbox, the policy for calls on it, and what happened."""

    backend: Backend
    provider: MemoryProvider
    policy: RetryPolicy
    waits: list[RetryWaiting] = field(factory=list)
    calls: int = 0

    def failing(self, *failures: BaseException | None) -> Callable[[], Awaitable[str]]:
        """A call that fails in these ways, one after the other, the last for ever; None is success."""

        async def call() -> str:
            failure = failures[min(self.calls, len(failures) - 1)]
            self.calls += 1
            if failure is not None:
                raise failure
            return "done"

        return call


def world(settings: RetryTable = SETTINGS) -> World:
    """A backend without sandboxes."""
    backend = Backend(suite={})
    provider = MemoryProvider(backend, Context(name="memory", liveness=LIVENESS))
    made = World(backend, provider, RetryPolicy(provider, settings))
    made.policy = RetryPolicy(provider, settings, made.waits.append)
    return made


@asynccontextmanager
async def watching(made: World) -> AsyncIterator[DeathWatch]:
    """A sandbox, and the watch over it."""
    ref = SandboxRef(id="box")
    made.backend.deaths[ref] = asyncio.Event()
    async with Poller(made.provider) as poller, DeathWatch(MemorySandbox(made.provider, ref), poller) as watch:
        yield watch


def all_classes() -> dict[str, type[ProviderError]]:
    """Every class of provider errors there is, by name."""
    found = [ProviderError]
    for each in found:
        found += each.__subclasses__()
    return {each.__name__: each for each in found if each.__module__ == errors.__name__}


def test_every_class_is_classified() -> None:
    """The table above names every class, and each is tried again exactly if the table says so."""
    assert set(all_classes()) == set(RETRYABLE)
    for name, kind in all_classes().items():
        made = world()
        with pytest.raises(kind):
            run_virtually(made.policy.call("create", made.failing(kind("no"))))
        assert made.calls == (SETTINGS.attempts if RETRYABLE[name] else 1), name


def test_the_provider_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider may forbid what its class allows, and allow what it forbids."""
    asked: list[ProviderError] = []

    def opposite(error: ProviderError) -> bool:
        asked.append(error)
        return not error.retryable

    made = world()
    monkeypatch.setattr(made.provider, "is_retryable", opposite)
    with pytest.raises(ConnectionLost):
        run_virtually(made.policy.call("list", made.failing(ConnectionLost("gone"))))
    assert made.calls == 1
    assert run_virtually(made.policy.call("list", made.failing(None, NotFound("not yet"), None))) == "done"
    assert made.calls == 3
    assert len(asked) == 2


@pytest.mark.parametrize("kind", [SandboxDead, SandboxLost])
def test_death_is_final_whatever_a_provider_says(kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dead or lost is not tried again, even by a provider that says yes to everything."""
    made = world()
    monkeypatch.setattr(made.provider, "is_retryable", lambda error: True)
    with pytest.raises(kind):
        run_virtually(made.policy.call("upload", made.failing(kind("it is gone"))))
    assert made.calls == 1
    assert made.waits == []


def test_what_is_no_provider_error_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is raised as it is, at once, and the provider is not asked about it."""
    made = world()
    monkeypatch.setattr(made.provider, "is_retryable", lambda error: True)
    with pytest.raises(KeyError):
        run_virtually(made.policy.call("create", made.failing(KeyError("oops"))))
    assert made.calls == 1


def test_a_timeout_of_the_calls_own_is_not_taken_for_the_bound() -> None:
    """A TimeoutError that the call itself raises is its own, and not retried."""
    made = world()
    with pytest.raises(TimeoutError) as caught:
        run_virtually(made.policy.call("create", made.failing(TimeoutError("mine"))))
    assert str(caught.value) == "mine"
    assert made.calls == 1


def test_attempts_and_waits() -> None:
    """It tries as often as configured; waits double with jitter, none is longer than the limit, each is told."""
    made = world()

    async def main() -> float:
        start = asyncio.get_running_loop().time()
        with pytest.raises(CreateFailed, match="no"):
            await made.policy.call("create", made.failing(CreateFailed("no")))
        return asyncio.get_running_loop().time() - start

    took = run_virtually(main())
    assert made.calls == 4
    assert [(wait.operation, wait.attempt, wait.sandbox, wait.error) for wait in made.waits] == [
        ("create", number, "", "no") for number in (1, 2, 3)
    ]
    first, second, third = (wait.wait for wait in made.waits)
    assert 1 <= first <= 2
    assert 2 <= second <= 3
    assert third == 3
    assert took == pytest.approx(first + second + third)


def test_success_after_failures() -> None:
    """The result of the try that succeeds is returned."""
    made = world()
    lost = ConnectionLost("reset")
    assert run_virtually(made.policy.call("list", made.failing(lost, lost, None))) == "done"
    assert [wait.attempt for wait in made.waits] == [1, 2]


def test_no_try_begins_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many attempts are allowed, none begins after the deadline, and no wait that would lead to one."""
    made = world(RetryTable(attempts=100, initial_wait_secs=10.0, max_wait_secs=10.0, deadline_secs=35.0))
    began: list[float] = []

    def now() -> float:
        return asyncio.get_running_loop().time()

    async def call() -> None:
        began.append(now())
        raise CapacityExhausted("full")

    async def main() -> float:
        monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=now))
        with pytest.raises(CapacityExhausted):
            await made.policy.call("create", call)
        return now()

    assert run_virtually(main()) == began[-1] == 30.0
    assert began == [0.0, 10.0, 20.0, 30.0]
    assert len(made.waits) == 3


def test_one_call_is_bounded() -> None:
    """A call that does not answer is cut off, retried like any error, and named in the error in the end."""
    made = world()
    ended = 0

    async def call() -> None:
        nonlocal ended
        made.calls += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    with pytest.raises(OperationTimedOut, match="no answer in 60 s") as caught:
        run_virtually(made.policy.call("create", call))
    assert made.calls == ended == 4
    assert caught.value.operation == "create"
    assert caught.value.provider == "memory"


def test_an_unbounded_call() -> None:
    """An image build may take as long as it takes."""
    made = world()

    async def call() -> str:
        await asyncio.sleep(5000)
        return "built"

    assert run_virtually(made.policy.call("prepare", call, bounded=False)) == "built"


def test_a_death_ends_a_call_in_flight() -> None:
    """When the sandbox dies, the call is cancelled at once, raises SandboxDead, and nothing is called after it."""
    made = world()

    async def call() -> None:
        made.calls += 1
        await asyncio.sleep(50)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with watching(made) as watch:
            loop.call_later(7.25, made.backend.kill, watch.sandbox.ref)
            with pytest.raises(SandboxDead, match="it died") as caught:
                await made.policy.call("upload", call, watch=watch)
            assert loop.time() - start == pytest.approx(7.25)
            assert caught.value.sandbox == "box"
            with pytest.raises(SandboxDead):
                await made.policy.call("upload", call, watch=watch)

    run_virtually(main())
    assert made.calls == 1
    assert made.waits == []


def test_the_probe_comes_before_the_wait() -> None:
    """A sandbox that turns out to be dead after an error is not waited for; the error is the cause of SandboxDead."""
    made = world()
    made.backend.pushes = False
    failure = UploadFailed("broken pipe")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with watching(made) as watch:

            async def call() -> None:
                made.calls += 1
                made.backend.kill(watch.sandbox.ref)
                raise failure

            start = loop.time()
            with pytest.raises(SandboxDead) as caught:
                await made.policy.call("upload", call, watch=watch)
            assert caught.value.__cause__ is failure
            assert loop.time() == start

    run_virtually(main())
    assert made.calls == 1
    assert made.waits == []


def test_a_death_ends_a_wait() -> None:
    """A sandbox that dies during the back-off wait ends it: nothing is waited out for the dead."""
    made = world(RetryTable(initial_wait_secs=100.0, max_wait_secs=200.0, deadline_secs=1000.0))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with watching(made) as watch:
            loop.call_later(10.0, made.backend.kill, watch.sandbox.ref)
            with pytest.raises(SandboxDead):
                await made.policy.call("upload", made.failing(UploadFailed("no")), watch=watch)
            assert loop.time() - start == pytest.approx(10.0)

    run_virtually(main())
    assert made.calls == 1
    assert len(made.waits) == 1


def test_an_unknown_probe_does_not_kill() -> None:
    """If the probe cannot tell, the call is tried again; short silence is not death."""
    made = world()

    async def main() -> str:
        async with watching(made) as watch:
            made.backend.silent.add(watch.sandbox.ref)
            asyncio.get_running_loop().call_later(3.0, made.backend.silent.clear)
            lost = ConnectionLost("reset")
            return await made.policy.call("upload", made.failing(lost, lost, None), watch=watch)

    assert run_virtually(main()) == "done"
    assert made.calls == 3


def test_unknown_for_too_long_is_lost() -> None:
    """Silence for longer than `lost_after_secs` ends the call with SandboxLost, as final as death."""
    made = world()

    async def call() -> None:
        made.calls += 1
        await asyncio.sleep(50)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with watching(made) as watch:
            made.backend.silent.add(watch.sandbox.ref)
            with pytest.raises(SandboxLost, match="nothing heard of it for 5 s: the backend does not answer"):
                await made.policy.call("upload", call, watch=watch)
            assert loop.time() - start <= LIVENESS.interval_secs + LIVENESS.lost_after_secs

    run_virtually(main())
    assert made.calls == 1


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("when", ["call", "wait"])
def test_cancellation_leaves_nothing(watched: bool, when: str) -> None:
    """Cancelled during a call or a wait, it ends, and so does the call (no task is left: `run_virtually` looks)."""
    made = world()
    ended: list[str] = []

    async def call() -> None:
        made.calls += 1
        if when == "wait":
            raise UploadFailed("no")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("call")

    async def main() -> None:
        async with watching(made) as watch:
            task = asyncio.create_task(made.policy.call("upload", call, watch=watch if watched else None))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run_virtually(main())
    assert made.calls == 1
    assert ended == (["call"] if when == "call" else [])


@pytest.mark.parametrize("cut", ["death", "bound", "cancellation"])
def test_a_call_that_ignores_cancellation_is_left_behind(cut: str) -> None:
    """However stubborn a call is, no more than `END_SECS` is lost on it; its late error disturbs nobody."""
    made = world(RetryTable(attempts=1, call_timeout_secs=10.0))
    free = asyncio.Event()

    async def stubborn() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("much too late")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with watching(made) as watch:
            task = asyncio.create_task(made.policy.call("upload", stubborn, watch=watch))
            if cut == "death":
                loop.call_later(5.0, made.backend.kill, watch.sandbox.ref)
            elif cut == "cancellation":
                loop.call_later(5.0, task.cancel)
            expected = {"death": SandboxDead, "bound": OperationTimedOut, "cancellation": asyncio.CancelledError}
            with pytest.raises(expected[cut]):
                await task
            assert loop.time() - start == pytest.approx((10.0 if cut == "bound" else 5.0) + END_SECS)
            free.set()
            await asyncio.sleep(0.1)

    run_virtually(main())


def test_what_succeeds_on_a_dying_sandbox_has_succeeded() -> None:
    """A result that is there when the death is noticed is not thrown away."""
    made = world()

    async def main() -> None:
        async with watching(made) as watch:

            async def call() -> str:
                made.backend.kill(watch.sandbox.ref)
                return "done"

            assert await made.policy.call("download", call, watch=watch) == "done"

    run_virtually(main())


def test_an_error_of_a_dead_sandbox_is_its_death() -> None:
    """A call that fails because its sandbox is gone raises SandboxDead, chained to what it said."""
    made = world()

    async def main() -> None:
        async with watching(made) as watch:

            async def call() -> None:
                watch.died("said by somebody else")
                raise ValueError("unexpected end of stream")

            with pytest.raises(SandboxDead, match="said by somebody else") as caught:
                await made.policy.call("download", call, watch=watch)
            assert isinstance(caught.value.__cause__, ValueError)

    run_virtually(main())


def test_a_probe_that_hangs_delays_by_its_bound() -> None:
    """The probe before a wait is bounded, and counts as unknown."""
    made = world()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        async with watching(made) as watch:

            async def hang() -> Liveness:
                await asyncio.Event().wait()
                raise AssertionError

            watch.sandbox.probe = hang  # type: ignore[method-assign]
            start = loop.time()
            answer = await made.policy.call("upload", made.failing(UploadFailed("no"), None), watch=watch)
            assert loop.time() - start == pytest.approx(LIVENESS.timeout_secs + made.waits[0].wait)
            return answer

    assert run_virtually(main()) == "done"
