"""What the dispatcher makes of single events that are hard to arrange in a whole run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from attrs import define, field

from offload_core.abc import Outcome, TeardownFailed, Test, TestFinished
from offload_core.events import Bus
from offload_core.execution.attempts import RunningAttempt
from offload_core.execution.dispatcher import Dispatcher
from offload_core.execution.messages import Aborted, Finished, TornDownLate, Unstarted
from offload_core.execution.session_driver import SessionDriver, SessionTerms
from offload_core.execution.timing import Timing
from offload_core.results.accounting import Accounting
from offload_core.scheduling import LongestFirst


@define(eq=False)
class Hand:
    """A worker that does nothing by itself."""

    name: str
    session_name: str = "session"
    fresh: bool = True
    held: dict[str, Test] = field(factory=dict)
    aborted: list[str] = field(factory=list)
    on_revoke: Callable[[], object] = bool

    def wake(self) -> None:
        """Nobody sleeps here."""

    async def revoke(self, tests: object) -> tuple[Test, ...]:
        """Nothing is given up."""
        self.on_revoke()
        return ()

    def abort(self, test: Test) -> None:
        """Noted."""
        self.aborted.append(test.key)


class Bench:
    """A dispatcher with two workers, and what its events add up to."""

    def __init__(self, retries: int) -> None:
        self.accounting = Accounting()
        bus = Bus(clock=lambda: 0.0, consumers=[lambda stamped: self.accounting.apply(stamped.event, stamped.at)])
        self.dispatcher = Dispatcher(LongestFirst(), bus, hedge=True, fail_fast=False, on_change=lambda: None)
        self.test = Test(key="t", id="t", group="g", path="m", affinity="m", retries=retries)
        self.a, self.b = Hand("a"), Hand("b")
        for hand in (self.a, self.b):
            self.dispatcher.join(hand)
        self.dispatcher.add([self.test])
        self.dispatcher.discovered()

    def begin(self, hand: Hand) -> RunningAttempt:
        """The worker takes the test and begins it."""
        bundle = asyncio.run(self.dispatcher.next_bundle(hand, {}))
        assert bundle is not None
        assert bundle.tests == (self.test,)
        return self.dispatcher.begin(hand, self.test)

    def finish(self, run: RunningAttempt, outcome: Outcome) -> bool:
        """It ends so. Whether that counts."""
        self.dispatcher.tell(Finished(run, TestFinished(key="t", outcome=outcome, duration=1.0)))
        return any(attempt.number == run.number for attempt in self.accounting.records["t"].attempts)

    def tear(self, run: RunningAttempt) -> None:
        """What it shared cannot be torn down."""
        self.dispatcher.tell(TornDownLate(run, TeardownFailed(key="t", message="no")))

    @property
    def state(self) -> str:
        """The test's state by now."""
        return self.accounting.records["t"].state.value


def test_one_attempt_uses_up_one_retry() -> None:
    """An attempt that fails and whose teardown fails too is one failure, not two."""
    bench = Bench(retries=2)
    run = bench.begin(bench.a)
    assert bench.finish(run, Outcome.FAILED)
    bench.tear(run)
    assert bench.finish(bench.begin(bench.b), Outcome.FAILED)
    assert not bench.dispatcher.over
    assert bench.finish(bench.begin(bench.a), Outcome.FAILED)
    assert bench.dispatcher.over
    assert len(bench.accounting.records["t"].attempts) == 3
    assert bench.state == "failed"


@pytest.mark.parametrize(("retries", "over"), [(0, True), (1, False)])
def test_a_teardown_that_fails_after_a_pass(retries: int, over: bool) -> None:
    """It makes the test an error, which is retried like any failure."""
    bench = Bench(retries)
    run = bench.begin(bench.a)
    bench.finish(run, Outcome.PASSED)
    assert bench.dispatcher.over
    bench.tear(run)
    assert bench.dispatcher.over is over
    assert bench.state == "error"
    if not over:
        bench.finish(bench.begin(bench.b), Outcome.PASSED)
        assert bench.dispatcher.over
        assert bench.state == "flaky"


def test_what_comes_second_does_not_count() -> None:
    """Of two copies the first to end decides; the other is told to stop, and whatever it says is dropped."""
    bench = Bench(retries=0)
    first = bench.begin(bench.a)
    second = bench.dispatcher.begin(bench.b, bench.test)
    assert second.hedge
    assert bench.finish(second, Outcome.PASSED)
    assert bench.a.aborted == ["t"]
    assert not bench.finish(first, Outcome.FAILED)
    assert bench.state == "passed"
    assert bench.dispatcher.over


def test_what_runs_is_not_queued_again() -> None:
    """A copy that comes back unstarted while another copy runs is forgotten; without one, it waits again."""
    bench = Bench(retries=0)
    run = bench.begin(bench.a)
    bench.dispatcher.tell(Unstarted((bench.test,)))
    assert asyncio.run(bench.dispatcher.next_bundle(bench.b, {})) is None
    bench.dispatcher.tell(Aborted(run))
    bench.dispatcher.tell(Unstarted((bench.test,)))
    assert bench.finish(bench.begin(bench.b), Outcome.PASSED)


def test_what_comes_while_a_thief_asks_is_seen() -> None:
    """Who found nothing to steal does not fall asleep beside tests that were found meanwhile."""
    bench = Bench(retries=0)
    bench.begin(bench.a)
    late, held = (Test(key=key, id=key, group="g", path="m", affinity="m") for key in ("late", "held"))
    bench.a.held = {"held": held}
    bench.a.on_revoke = lambda: bench.dispatcher.add([late])
    bundle = asyncio.run(bench.dispatcher.next_bundle(bench.b, {}))
    assert bundle is not None
    assert bundle.tests == (late,)


async def test_nothing_is_taken_from_a_session_that_does_not_hold_it() -> None:
    """A thief can ask just when the session that held the tests has ended, and the next one is not open yet."""
    bench = Bench(retries=0)
    terms = SessionTerms(
        test_timeout=1.0, timing=Timing(), leaves_files=False, collected=None, up=lambda _: None, log=lambda _: None
    )
    opening = SessionDriver(bench.a, bench.dispatcher, cast(Any, None), terms)
    assert await opening.revoke([bench.test]) == ()
