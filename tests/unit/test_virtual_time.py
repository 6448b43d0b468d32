"""The clock that jumps: what simulations on it can rely on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.virtual_time import VirtualTimeLoop, run_virtually


def test_waits_take_no_time_and_keep_their_order() -> None:
    """Timers fire in the order of their times, at their times, and days pass in no time at all."""
    fired: list[tuple[str, float]] = []

    async def later(name: str, secs: float) -> None:
        await asyncio.sleep(secs)
        fired.append((name, round(asyncio.get_running_loop().time(), 6)))

    async def main() -> None:
        await asyncio.gather(later("c", 9e5), later("a", 0.25), later("b", 3600.0))

    run_virtually(main())
    assert fired == [("a", 0.25), ("b", 3600.0), ("c", 9e5)]


def test_what_never_comes_ends_at_the_limit() -> None:
    """A run that waits for what nothing will do is ended by its limit, at once."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run_virtually(main())


def test_a_deadlock_is_an_error() -> None:
    """With no timer set nothing could ever happen: the loop says so, with the names of the tasks, and does not hang."""

    async def main() -> None:
        await asyncio.Event().wait()

    async def named() -> None:
        await asyncio.create_task(main(), name="sleeper")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, pytest.raises(RuntimeError, match="sleeper"):
        runner.run(named())


def test_nothing_may_be_left() -> None:
    """A task that outlives the run fails it."""

    async def main() -> None:
        asyncio.get_running_loop().left = asyncio.create_task(asyncio.sleep(1), name="leftover")  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match="leftover"):
        run_virtually(main())


def test_work_can_cost_time() -> None:
    """With a price on CPU time, the clock moves while code runs."""

    async def main() -> float:
        began, spent = asyncio.get_running_loop().time(), time.process_time()
        while time.process_time() - spent < 0.01:
            pass
        return asyncio.get_running_loop().time() - began

    assert run_virtually(main(), cpu_cost=100.0) >= 1.0
