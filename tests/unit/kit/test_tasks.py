"""What was begun comes to its end, and what was made for nobody is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from offload_core.kit import BackgroundTasks, cancelled

Complaints = Callable[[], list[str]]


class Maker:
    """Makes things that have to be undone, and knows which are left."""

    def __init__(self) -> None:
        self.tasks = BackgroundTasks()
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.undoing = asyncio.Event()
        self.undo = asyncio.Event()
        self.undo.set()
        self.made = self.undone = 0
        self.error: Exception | None = None

    async def make(self, *, wait: bool) -> str:
        """As a provider does."""
        return await self.tasks.make(self._making(), self._undoing, wait=wait)

    async def _making(self) -> str:
        self.began.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.made += 1
        return "thing"

    async def _undoing(self, thing: str) -> None:
        self.undoing.set()
        await self.undo.wait()
        assert thing == "thing"
        self.undone += 1
        raise ConnectionError("whatever comes of it")


@pytest.fixture
async def maker() -> Maker:
    """One."""
    return Maker()


async def test_what_is_made_is_returned(maker: Maker) -> None:
    """And not undone."""
    maker.go.set()
    assert await maker.make(wait=False) == "thing"
    assert await maker.tasks.aclose()
    assert (maker.made, maker.undone) == (1, 0)


async def test_what_cannot_be_made_raises(maker: Maker) -> None:
    """There is nothing to undo."""
    maker.go.set()
    maker.error = ValueError("no room")
    with pytest.raises(ValueError, match="no room"):
        await maker.make(wait=True)
    assert await maker.tasks.aclose()
    assert maker.undone == 0


async def test_a_cancelled_call_need_not_wait(maker: Maker, complaints: Complaints) -> None:
    """It ends at once; what it asked for is finished and undone beside, and closing waits for that."""
    making = asyncio.create_task(maker.make(wait=False))
    await maker.began.wait()
    await cancelled(making)
    assert making.cancelled()
    assert maker.made == 0
    closing = asyncio.create_task(maker.tasks.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    maker.go.set()
    assert await closing
    assert (maker.made, maker.undone) == (1, 1)
    assert complaints() == []  # of the error of what undoes, too


async def test_a_cancelled_call_waits_if_it_is_to(maker: Maker) -> None:
    """It ends when nothing is left of what it asked for."""
    maker.undo.clear()
    making = asyncio.create_task(maker.make(wait=True))
    await maker.began.wait()
    making.cancel()
    maker.go.set()
    await maker.undoing.wait()
    assert not making.done()
    maker.undo.set()
    await asyncio.wait({making})
    assert making.cancelled()
    assert maker.undone == 1


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("moment", range(8))
async def test_whenever_it_is_cancelled(maker: Maker, moment: int, wait: bool) -> None:
    """Around the moment in which the thing is there: whoever asked has it, or it is undone."""
    making = asyncio.create_task(maker.make(wait=wait))
    await maker.began.wait()
    maker.go.set()
    for _ in range(moment):
        await asyncio.sleep(0)
    making.cancel()
    await asyncio.wait({making})
    assert await maker.tasks.aclose()
    assert maker.made - maker.undone == (0 if making.cancelled() else 1)


async def test_a_making_that_fails_later_is_not_undone(maker: Maker, complaints: Complaints) -> None:
    """Nobody has to look at its error."""
    making = asyncio.create_task(maker.make(wait=False))
    await maker.began.wait()
    await cancelled(making)
    maker.error = ValueError("no room")
    maker.go.set()
    assert await maker.tasks.aclose()
    assert maker.undone == 0
    assert complaints() == []


async def test_what_is_to_be_finished_is_finished(maker: Maker) -> None:
    """Also if whoever began it is cancelled meanwhile."""
    ended: list[bool] = []

    async def work() -> None:
        maker.began.set()
        await maker.go.wait()
        ended.append(True)

    finishing = asyncio.create_task(maker.tasks.finish(work()))
    await maker.began.wait()
    await cancelled(finishing)
    assert ended == []
    maker.go.set()
    assert await maker.tasks.aclose()
    assert ended == [True]


async def test_closing_waits_as_long_as_it_may(maker: Maker) -> None:
    """What runs then is cancelled, and it is said that something was; what ends in time, or nothing, is well."""
    assert await maker.tasks.aclose(within=0.01)
    hanging = maker.tasks.start(asyncio.sleep(600))
    assert not await maker.tasks.aclose(within=0.01)
    assert hanging.cancelled()
    maker.tasks.start(asyncio.sleep(0))
    assert await maker.tasks.aclose(within=60)


async def test_an_error_of_a_task_is_nobodys(maker: Maker, complaints: Complaints) -> None:
    """Who wants to know looks at the task."""

    async def fails() -> None:
        raise ValueError("no")

    maker.tasks.start(fails())
    assert await maker.tasks.aclose()
    assert complaints() == []
