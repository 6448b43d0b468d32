"""The death watch and the poller behind it: what tells of a death, what does not, and when silence means lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from offload_core.abc import Context, Liveness, LivenessSettings, SandboxRef
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead, SandboxLost
from offload_core.liveness import DeathWatch, Poller, is_gone
from tests.support.simulated_backend import Backend, MemoryProvider, MemorySandbox
from tests.support.virtual_time import run_virtually

SETTINGS = LivenessSettings(interval_secs=1.0, timeout_secs=0.5, lost_after_secs=5.0)


class World:
    """A backend, and watches over sandboxes on it."""

    def __init__(self, *, pushes: bool = True) -> None:
        self.backend = Backend(suite={}, pushes=pushes)
        self.provider = MemoryProvider(self.backend, Context(name="memory", liveness=SETTINGS))
        self.poller = Poller(self.provider)

    @asynccontextmanager
    async def watching(self, name: str = "box") -> AsyncIterator[DeathWatch]:
        """A new sandbox, watched."""
        ref = SandboxRef(id=name)
        self.backend.deaths[ref] = asyncio.Event()
        async with DeathWatch(MemorySandbox(self.provider, ref), self.poller) as watch:
            yield watch


async def time_of_end(watch: DeathWatch) -> float:
    """Wait until it is gone; the loop's time then."""
    await watch.gone
    return asyncio.get_running_loop().time()


def test_push_tells_at_once() -> None:
    """A backend that pushes ends the watch in the moment of the death; `gone` holds a SandboxDead with the reason."""
    world = World()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            await asyncio.sleep(0.3)
            died = loop.time()
            world.backend.kill(watch.sandbox.ref)
            assert await time_of_end(watch) == died
            error = watch.loss()
            assert isinstance(error, SandboxDead)
            assert error.message == "it died"
            assert (error.sandbox, error.provider) == ("box", "memory")
        await world.poller.aclose()

    run_virtually(main())


def test_polling_tells_where_the_push_fails() -> None:
    """A push that fails kills nothing and is tried again and again; polling finds the death within an interval."""
    world = World(pushes=False)
    pushes = 0

    async def failing() -> Liveness:
        nonlocal pushes
        pushes += 1
        raise ConnectionLost("no event stream")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            watch.sandbox.wait_dead = failing  # type: ignore[method-assign]
            await asyncio.sleep(60.5)
            assert not watch.gone.done(), "a failing push is not silence while polls are answered"
            assert pushes >= 50
            died = loop.time()
            world.backend.kill(watch.sandbox.ref)
            assert await time_of_end(watch) <= died + SETTINGS.interval_secs
            assert isinstance(watch.loss(), SandboxDead)
        await world.poller.aclose()

    run_virtually(main())


def test_a_push_that_recovers_is_used() -> None:
    """After a failure the push is armed again, and tells at once when it works."""
    world = World(pushes=False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            await asyncio.sleep(3.3)
            world.backend.pushes = True
            await asyncio.sleep(SETTINGS.interval_secs)
            died = loop.time()
            world.backend.kill(watch.sandbox.ref)
            assert await time_of_end(watch) == died
        await world.poller.aclose()

    run_virtually(main())


def test_a_push_that_answers_alive_is_armed_again() -> None:
    """`wait_dead` that returns although the sandbox lives neither kills it nor spins."""
    world = World()
    answers = 0

    async def alive() -> Liveness:
        nonlocal answers
        answers += 1
        return Liveness.alive()

    async def main() -> None:
        async with world.watching() as watch:
            watch.sandbox.wait_dead = alive  # type: ignore[method-assign]
            await asyncio.sleep(10.5)
            assert not watch.gone.done()
            assert 5 <= answers <= 12
        await world.poller.aclose()

    run_virtually(main())


def test_silence_becomes_lost() -> None:
    """Nothing but unknown for `lost_after_secs` is lost, not dead, and not a moment earlier."""
    world = World()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            await asyncio.sleep(2.5)
            world.backend.silent.add(watch.sandbox.ref)
            silent = loop.time()
            ended = await time_of_end(watch)
            assert silent + SETTINGS.lost_after_secs <= ended
            assert ended <= silent + SETTINGS.lost_after_secs + SETTINGS.interval_secs
            error = watch.loss()
            assert isinstance(error, SandboxLost)
            assert error.message == "nothing heard of it for 5 s: the backend does not answer"
        await world.poller.aclose()

    run_virtually(main())


def test_one_answer_ends_the_silence() -> None:
    """An answer resets the time to lost: silences that are each too short do not add up."""
    world = World()

    async def main() -> None:
        async with world.watching() as watch:
            for _ in range(10):
                world.backend.silent.add(watch.sandbox.ref)
                await asyncio.sleep(SETTINGS.lost_after_secs - 1.5)
                world.backend.silent.clear()
                await asyncio.sleep(1.1 * SETTINGS.interval_secs)
            assert not watch.gone.done()
        await world.poller.aclose()

    run_virtually(main())


def test_heartbeats_hold_off_lost() -> None:
    """While the session is heard, a sandbox whose probes fail is not lost; when it falls silent too, it is."""
    world = World()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            world.backend.silent.add(watch.sandbox.ref)
            for _ in range(20):
                await asyncio.sleep(2.0)
                watch.heartbeat()
            assert not watch.gone.done()
            last = loop.time()
            assert await time_of_end(watch) == pytest.approx(last + SETTINGS.lost_after_secs)
        await world.poller.aclose()

    run_virtually(main())


def test_a_heartbeat_does_not_raise_the_dead() -> None:
    """What is gone stays gone, and for the reason it went."""
    world = World()

    async def main() -> None:
        async with world.watching() as watch:
            watch.died("the first reason")
            watch.heartbeat()
            watch.died("the second reason")
            await watch.probe()
            assert watch.loss().message == "the first reason"
        await world.poller.aclose()

    run_virtually(main())


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_probe_that_fails_is_unknown(how: str) -> None:
    """`probe` never raises and never takes longer than its bound; what it cannot find out is unknown."""
    world = World()

    async def broken() -> Liveness:
        if how == "raises":
            raise ZeroDivisionError("a bug in a plugin")
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.watching() as watch:
            watch.sandbox.probe = broken  # type: ignore[method-assign]
            start = loop.time()
            answer = await watch.probe()
            assert answer.is_unknown
            assert ("ZeroDivisionError" if how == "raises" else "no answer in 0.5 s") in answer.reason
            assert loop.time() <= start + SETTINGS.timeout_secs
            assert not watch.gone.done()
        await world.poller.aclose()

    run_virtually(main())


def test_many_sandboxes_share_one_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred watches make one bulk probe per interval, and the loop ends with them."""
    world = World()
    asked: list[int] = []
    probe_many = world.provider.probe_many

    async def counting(refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        asked.append(len(refs))
        return await probe_many(refs)

    monkeypatch.setattr(world.provider, "probe_many", counting)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(world.watching(f"box-{number}")) for number in range(100)]
            await asyncio.sleep(20.5)
            assert len(asked) <= 22
            assert set(asked[1:]) == {100}
            world.backend.pushes = False
            world.backend.kill(watches[50].sandbox.ref)
            await watches[50].gone
            assert not any(watch.gone.done() for watch in watches if watch is not watches[50])
        count = len(asked)
        await asyncio.sleep(10 * SETTINGS.interval_secs)
        assert len(asked) <= count + 1, "it polls for nobody"
        # `run_virtually` sees that no task is left, without aclose

    run_virtually(main())


def test_a_bulk_probe_that_breaks_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that raises, hangs or leaves a sandbox out is unknown for it: lost after a while, never dead."""
    for how in ("raises", "hangs", "leaves out"):
        world = World(pushes=False)

        async def broken(refs: Sequence[SandboxRef], how: str = how) -> Mapping[SandboxRef, Liveness]:
            if how == "raises":
                raise ProviderError("no")
            if how == "hangs":
                await asyncio.Event().wait()
            return {}

        monkeypatch.setattr(world.provider, "probe_many", broken)

        async def main(world: World = world) -> None:
            async with world.watching() as watch:
                await asyncio.sleep(SETTINGS.lost_after_secs - 0.1)
                assert not watch.gone.done()
                await asyncio.sleep(1.5 * SETTINGS.interval_secs)
                assert isinstance(watch.loss(), SandboxLost)
            await world.poller.aclose()

        run_virtually(main())


def test_what_is_gone_is_not_called() -> None:
    """A guarded call on a sandbox that is known to be gone does not begin."""
    world = World()
    begun = []

    async def call() -> None:
        begun.append(True)

    async def main() -> None:
        async with world.watching() as watch:
            watch.died("seen by somebody")
            with pytest.raises(SandboxDead, match="seen by somebody"):
                await watch.guard(call())
        await world.poller.aclose()

    run_virtually(main())
    assert begun == []


def test_a_call_that_says_dead_tells_the_watch() -> None:
    """An operation that fails with SandboxDead is how everybody else learns of the death."""
    world = World(pushes=False)

    async def call() -> None:
        raise SandboxDead("container gone", sandbox="box")

    async def main() -> None:
        async with world.watching() as watch:
            with pytest.raises(SandboxDead):
                await watch.guard(call())
            assert watch.gone.done()
            assert watch.loss().message == "container gone"
        await world.poller.aclose()

    run_virtually(main())


def test_nothing_is_left_after_the_watch() -> None:
    """Leaving the block, by an error or in the middle of silence, leaves no task and no timer that still acts."""
    world = World()

    watches: list[DeathWatch] = []

    async def failing() -> None:
        async with world.watching() as watch:
            watches.append(watch)
            world.backend.silent.add(watch.sandbox.ref)
            await asyncio.sleep(2.0)
            raise KeyError

    async def main() -> None:
        with pytest.raises(KeyError):
            await failing()
        await asyncio.sleep(10 * SETTINGS.lost_after_secs)
        assert not watches[0].gone.done()

    run_virtually(main())


def test_is_gone() -> None:
    """Dead and lost are both gone for good; nothing else is."""
    assert is_gone(SandboxDead("x"))
    assert is_gone(SandboxLost("x"))
    assert not is_gone(ConnectionLost("x"))
    assert not is_gone(ValueError("x"))
