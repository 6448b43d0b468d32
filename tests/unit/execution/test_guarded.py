"""The sandbox as a framework sees it: bounded, watched, and never started twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from offload_core.abc import Command, Context, Process, SandboxRef
from offload_core.errors import ConnectionLost, OperationTimedOut, SandboxDead
from offload_core.execution.guarded import GuardedExecutor
from offload_core.liveness import DeathWatch, Poller
from offload_core.retry import RetryPolicy
from tests.support.simulated_backend import Backend, MemoryProvider, MemorySandbox
from tests.support.virtual_time import run_virtually

COMMAND = Command(argv=("true",))


class Box(MemorySandbox):
    """A sandbox whose `exec` and `upload` are slow, or fail."""

    secs = 0.0
    failures = 0
    calls = 0

    async def _call(self) -> None:
        self.calls += 1
        await asyncio.sleep(self.secs)
        if self.calls <= self.failures:
            raise ConnectionLost("reset")

    async def exec(self, command: Command) -> Process:
        """Slow, or failing."""
        await self._call()
        return await super().exec(command)

    async def upload(self, files: object) -> None:
        """Slow, or failing."""
        await self._call()


@asynccontextmanager
async def guarded(secs: float = 0.0, failures: int = 0) -> AsyncIterator[tuple[Box, GuardedExecutor]]:
    """A sandbox and the executor for it."""
    backend = Backend(suite={})
    provider = MemoryProvider(backend, Context(name="memory"))
    ref = SandboxRef(id="box")
    backend.deaths[ref] = asyncio.Event()
    box = Box(provider, ref)
    box.secs, box.failures = secs, failures
    async with Poller(provider) as poller, DeathWatch(box, poller) as watch:
        yield box, GuardedExecutor(watch, RetryPolicy(provider))
    backend.end(ref)


def test_exec_is_never_tried_again() -> None:
    """Nobody knows whether a command that failed to start had an effect."""

    async def main() -> None:
        async with guarded(failures=1) as (box, executor):
            with pytest.raises(ConnectionLost):
                await executor.exec(COMMAND)
            assert box.calls == 1

    run_virtually(main())


def test_exec_is_bounded() -> None:
    """One that has not started within the bound of a call is an error that names it."""

    async def main() -> None:
        async with guarded(secs=61.0) as (box, executor):
            with pytest.raises(OperationTimedOut, match="no answer in 60 s") as caught:
                await executor.exec(COMMAND)
            assert (caught.value.operation, caught.value.sandbox, box.calls) == ("exec", "box", 1)

    run_virtually(main())


@pytest.mark.parametrize("operation", ["exec", "upload"])
def test_a_death_ends_what_is_in_flight(operation: str) -> None:
    """Both end in the moment of the death, and are not begun after it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with guarded(secs=50.0) as (box, executor):
            loop.call_later(7.0, box.backend.kill, box.ref)
            for _ in range(2):
                with pytest.raises(SandboxDead):
                    await (executor.exec(COMMAND) if operation == "exec" else executor.upload(()))
                assert loop.time() == pytest.approx(7.0)
            assert box.calls == 1

    run_virtually(main())


def test_upload_is_tried_again() -> None:
    """By the one policy."""

    async def main() -> None:
        async with guarded(failures=2) as (box, executor):
            await executor.upload(())
            assert box.calls == 3

    run_virtually(main())
