"""A call, raced against the death of the sandbox that it is on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from offload_core.kit import END_SECS, cancelled, race

Gone = asyncio.Future[str]
Complaints = Callable[[], list[str]]


@pytest.fixture
async def gone() -> Gone:
    """Not yet."""
    return asyncio.get_running_loop().create_future()


class Call:
    """One that lasts until it is let go; it notes what becomes of it."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, *, stubborn: bool = False, error: Exception | None = None) -> str:
        """Wait. Cancelled, it goes on if it is stubborn, and raises the error if it is given one."""
        self.noted.append("began")
        self.began.set()
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.noted.append("cancelled")
                if error is not None:
                    raise error from None
                if not stubborn:
                    raise
        return "done"


@pytest.fixture
async def call() -> Call:
    """A call."""
    return Call()


async def test_a_call_that_ends_first_is_returned(gone: Gone) -> None:
    """With its result."""
    task = await race(asyncio.sleep(0, "result"), gone)
    assert task is not None
    assert task.result() == "result"
    assert not gone.done()


async def test_a_call_that_fails_first_is_returned(gone: Gone, complaints: Complaints) -> None:
    """With its error, which nobody has to look at."""

    async def fails() -> None:
        raise ValueError("no")

    task = await race(fails(), gone)
    assert task is not None
    assert isinstance(task.exception(), ValueError)
    await race(fails(), gone)
    del task
    assert complaints() == []


async def test_a_death_cuts_the_call(gone: Gone, call: Call) -> None:
    """It is cancelled, and has ended when that is told."""
    asyncio.get_running_loop().call_later(0.01, gone.set_result, "dead")
    assert await race(call(), gone) is None
    assert call.noted == ["began", "cancelled"]


async def test_nothing_is_called_of_what_is_gone(gone: Gone, call: Call) -> None:
    """Not even for a moment."""
    gone.set_result("dead")
    assert await race(call(), gone) is None
    assert call.noted == []


async def test_the_time_is_over(gone: Gone, call: Call) -> None:
    """The call is cancelled; the sandbox is not gone for that."""
    assert await race(call(), gone, within=0.01) is None
    assert call.noted == ["began", "cancelled"]
    assert not gone.done()


async def test_a_caller_that_is_cancelled_cancels_the_call(gone: Gone, call: Call) -> None:
    """And leaves `gone` alone, which belongs to others, too."""
    racing = asyncio.create_task(race(call(), gone))
    await call.began.wait()
    await cancelled(racing)
    assert racing.cancelled()
    assert call.noted == ["began", "cancelled"]
    assert not gone.cancelled()


async def test_what_ignores_that_it_is_cancelled_is_left_behind(gone: Gone, call: Call, complaints: Complaints) -> None:
    """Within `END_SECS`, after it was told more than once; whatever comes of it later disturbs nobody."""
    before = asyncio.all_tasks()
    asyncio.get_running_loop().call_soon(gone.set_result, "dead")
    async with asyncio.timeout(20 * END_SECS):
        assert await race(call(stubborn=True), gone) is None
    assert call.noted.count("cancelled") > 1
    (left,) = asyncio.all_tasks() - before
    call.go.set()
    assert await left == "done"
    del left
    assert complaints() == []


@pytest.mark.parametrize("moment", range(1, 8))
async def test_an_error_that_nobody_waits_for_is_dropped(
    moment: int, gone: Gone, call: Call, complaints: Complaints
) -> None:
    """Of a call that fails because it is cut, or in the moment in which whoever made it is cancelled."""
    racing = asyncio.create_task(race(call(error=ValueError("no")), gone))
    for _ in range(moment):
        await asyncio.sleep(0)
    racing.cancel()
    await asyncio.wait({racing})
    del racing
    gone.set_result("dead")
    assert await race(call(error=ValueError("no")), gone) is None
    assert complaints() == []
