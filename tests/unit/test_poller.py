"""The poller: one loop that asks about all sandboxes, and tells whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from offload_core.abc import Context, Liveness, LivenessSettings, SandboxRef
from offload_core.errors import ProviderError
from offload_core.liveness import Poller
from tests.support.simulated_backend import Backend, MemoryProvider

A, B = SandboxRef(id="a"), SandboxRef(id="b")
WITHIN = 30.0


class Asked(MemoryProvider):
    """A provider whose bulk probe is a test's."""

    def __init__(self, probe_many: Any) -> None:
        super().__init__(Backend(suite={}), Context())
        self._answer = probe_many

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """As the test says."""
        answers: Mapping[SandboxRef, Liveness] = await self._answer(refs)
        return answers


def _poll(probe_many: Any, **settings: float) -> Poller:
    return Poller(Asked(probe_many), LivenessSettings(**{"interval_secs": 0.001, "timeout_secs": 0.02, **settings}))


def test_one_loop_tells_everybody() -> None:
    """Everybody who listens for a sandbox is told of its death, from one loop; nobody is told of another's."""
    dead: set[SandboxRef] = set()

    async def probe_many(refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        return {ref: Liveness.dead("it is") if ref in dead else Liveness.alive() for ref in refs}

    async def check() -> None:
        poller = _poll(probe_many)
        heard: list[asyncio.Queue[Liveness]] = [asyncio.Queue() for _ in range(3)]
        with contextlib.ExitStack() as stack:
            for ref, queue in zip((A, A, B), heard, strict=True):
                stack.enter_context(poller.listening(ref, queue.put_nowait))
            dead.add(A)
            async with asyncio.timeout(WITHIN):
                for queue in heard[:2]:
                    while not (await queue.get()).is_dead:
                        pass
        assert not any(heard[2].get_nowait().is_dead for _ in range(heard[2].qsize()))
        await poller.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())


def test_stops_when_nobody_listens_and_starts_again() -> None:
    """Without a listener nothing is asked; the next listener is answered again."""

    async def probe_many(refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        return dict.fromkeys(refs, Liveness.alive())

    async def check() -> None:
        poller = _poll(probe_many)
        for _ in range(2):
            heard = asyncio.Event()
            with poller.listening(A, lambda answer, heard=heard: heard.set()):  # type: ignore[misc]
                async with asyncio.timeout(WITHIN):
                    await heard.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            async with asyncio.timeout(WITHIN):
                await asyncio.wait(others)

    asyncio.run(check())


@pytest.mark.parametrize("trouble", ["raises", "hangs", "forgets"])
def test_unknown(trouble: str) -> None:
    """A probe_many that raises, hangs or leaves a sandbox out means unknown; when it recovers, it is heard again."""
    calls = 0

    async def probe_many(refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        nonlocal calls
        calls += 1
        if calls == 1:
            if trouble == "raises":
                raise ProviderError("no connection")
            if trouble == "hangs":
                await asyncio.Event().wait()
            return {}
        return dict.fromkeys(refs, Liveness.alive())

    async def check() -> None:
        poller = _poll(probe_many)
        heard: asyncio.Queue[Liveness] = asyncio.Queue()
        with poller.listening(A, heard.put_nowait):
            async with asyncio.timeout(WITHIN):
                answer = await heard.get()
                assert answer.is_unknown
                while answer.is_unknown:
                    answer = await heard.get()
        assert answer == Liveness.alive()
        await poller.aclose()

    asyncio.run(check())


def test_counts_a_late_answer() -> None:
    """An answer that takes longer than the bound of one probe still counts: probing many takes its time."""
    refs = [SandboxRef(id=str(number)) for number in range(200)]
    slow = asyncio.Event()

    async def probe_many(refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        await slow.wait()
        return dict.fromkeys(refs, Liveness.alive())

    async def check() -> None:
        poller = _poll(probe_many, timeout_secs=0.2)
        heard: asyncio.Queue[Liveness] = asyncio.Queue()
        with contextlib.ExitStack() as stack:
            for ref in refs:
                stack.enter_context(poller.listening(ref, heard.put_nowait))
            async with asyncio.timeout(WITHIN):
                assert all([(await heard.get()).is_unknown for _ in refs])
                slow.set()
                assert [await heard.get() for _ in refs] == [Liveness.alive()] * len(refs)
        await poller.aclose()

    asyncio.run(check())
