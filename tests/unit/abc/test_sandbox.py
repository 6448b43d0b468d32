"""What every sandbox inherits: waiting for its death by asking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from typing_extensions import override

from offload_core.abc import Command, Context, Liveness, LivenessSettings, Process, SandboxRef
from offload_core.errors import ConnectionLost
from offload_core.kit import ShellSandbox, cancelled

DEAD = Liveness.dead("exit code 1")


class Asked(ShellSandbox):
    """One whose probe gives the answers of the test, in turn; it hangs where the test says so."""

    def __init__(self, *answers: Liveness | Exception | None) -> None:
        liveness = LivenessSettings(interval_secs=0.001, timeout_secs=0.01)
        super().__init__(SandboxRef(id="s"), Context(liveness=liveness))
        self.answers: Iterator[Liveness | Exception | None] = iter(answers)

    @override
    async def exec(self, command: Command) -> Process:
        """Not needed."""
        raise NotImplementedError

    @override
    async def probe(self) -> Liveness:
        """The next answer."""
        answer = next(self.answers)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    @override
    async def terminate(self) -> None:
        """Not needed."""


class Pushing(Asked):
    """One that is told."""

    @override
    async def wait_dead(self) -> Liveness:
        """At once."""
        return DEAD


async def test_only_what_is_dead_ends_the_wait() -> None:
    """Not a probe that errs, hangs or does not know; and nothing is asked after the death."""
    sandbox = Asked(Liveness.alive(), ConnectionLost("no"), RuntimeError("a bug"), None, Liveness.unknown("?"), DEAD)
    async with asyncio.timeout(60):
        assert await sandbox.wait_dead() == DEAD
    with pytest.raises(StopIteration):
        next(sandbox.answers)


async def test_the_wait_can_be_cancelled() -> None:
    """In the middle of a probe."""
    waiting = asyncio.create_task(Asked(None, None).wait_dead())
    await asyncio.sleep(0)
    await cancelled(waiting)
    assert waiting.cancelled()


def test_who_pushes() -> None:
    """A sandbox that knows better than to ask."""
    assert not Asked().pushes
    assert Pushing().pushes
