"""Hands out tests, and decides what happens to each: the hub between discovery, workers and the pool.

Synchronous but for stealing, which has to ask a session. Workers ask it what to run, and tell it by messages what they
see; it emits the events. It knows nothing of sandboxes but their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import evolve

from ..abc import Outcome, Test
from ..events import Bus, LogLine, TestDiscovered, TestNotRun
from ..scheduling import Bundle, CrashKind, Scheduler
from .attempts import Attempts, RunningAttempt
from .crashes import CrashJudge
from .fleet import Fleet, WorkerView
from .hedging import Hedging
from .messages import Aborted, Crashed, Finished, Message, Returned, Suspected, TimedOut, TornDownLate, Unstarted
from .timing import Timing

FAIL_FAST = "stopped by --fail-fast after the first failure"


class Dispatcher:
    """See the module's docstring.

    Args:
        on_change: called when the pool may have to do something.

    Attributes:
        discovering: whether more tests may be found.
        stopped: why the run ends early, if it does.
        last_progress: when something moved last, in seconds of the run.
        verdicts: how many were found so far.
        workers: how many sandboxes there are or will be soon.
        fresh_is_possible: whether another one that is fresh can be had.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        bus: Bus,
        *,
        hedge: bool,
        fail_fast: bool,
        on_change: Callable[[], None],
        timing: Timing | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self._fail_fast = fail_fast
        self._on_change = on_change
        self._attempts = Attempts(bus, retrying=not fail_fast)
        self._hedging = Hedging(self._attempts, scheduler, enabled=hedge)
        self._judge = CrashJudge(self._attempts)
        self._fleet = Fleet(scheduler.estimate, self._requeue, (timing or Timing()).steal)
        self.discovering = True
        self.stopped: str | None = None
        self.last_progress = bus.clock()
        self.verdicts = 0
        self.workers = 0
        self.fresh_is_possible = True

    # -- the run --------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or the run was stopped."""
        return self.stopped is not None or (not self.discovering and not self.owed)

    @property
    def owed(self) -> int:
        """How many tests have no verdict yet."""
        return self._attempts.ledger.owed

    @property
    def shortage(self) -> int:
        """How many more workers would have something to do at once."""
        shortage = self._scheduler.waiting - self._fleet.eager
        fresh = sum(worker.fresh for worker in self._fleet)
        return max(shortage, self._scheduler.fresh_needed - fresh, 0)

    def add(self, tests: Iterable[Test]) -> None:
        """Tests that discovery found."""
        new = tuple(tests)
        for test in new:
            self._attempts.emit(TestDiscovered(test))
        self._requeue(new)
        self.progressed()

    def discovered(self) -> None:
        """Discovery has ended."""
        self.discovering = False
        self.progressed()
        if self.over:
            self._changed()

    def stop(self, reason: str) -> None:
        """Nothing more is started; what runs is given up."""
        if self.stopped is None:
            self.stopped = reason
            self._attempts.retrying = False
            self._scheduler.clear()
            self._changed()

    def progressed(self) -> None:
        """Something moved."""
        self.last_progress = self._bus.clock()

    def settle(self, reason: str) -> None:
        """The run is over: say of every test that has no verdict why."""
        for key, record in self._attempts.ledger.records.items():
            if record.owed:
                self._attempts.emit(TestNotRun(test=key, reason=self.stopped or reason))

    def waiting_for(self) -> Sequence[RunningAttempt]:
        """What runs now, longest first."""
        return sorted(self._attempts.running(), key=lambda attempt: attempt.since)

    def supply(self, workers: int, *, fresh_is_possible: bool) -> None:
        """How many sandboxes there are or will be soon, and whether another that is fresh can be had."""
        alone = workers <= 1 < self.workers
        no_fresh = self.fresh_is_possible and not fresh_is_possible and self._scheduler.fresh_needed > 0
        self.workers, self.fresh_is_possible = workers, fresh_is_possible
        if alone or no_fresh:
            self._fleet.wake_all()  # what waited for another worker, or for a fresh one, must not wait any longer

    def wake_for_hedge(self) -> None:
        """Called from time to time: wakes an idle worker if a test is due to be hedged, or may be given up by now."""
        if self._fleet.waiting and (self._fleet.may_give or self._hedging.overdue() is not None):
            self._fleet.wake(1)

    # -- workers ask ----------------------------------------------------------------------------------------------

    def join(self, worker: WorkerView) -> None:
        """A worker is ready."""
        self._fleet.join(worker)
        self.progressed()

    def leave(self, worker: WorkerView) -> None:
        """A worker is gone; what it held was dealt with before."""
        self._hedging.left(worker)
        self._fleet.leave(worker)
        self._changed()

    async def next_bundle(self, worker: WorkerView, owed: Mapping[str, Test]) -> Bundle | None:
        """What a worker should run next, None for nothing yet: it is woken when there may be something.

        Args:
            owed: what its session has not finished. While that is something, it gets its next bundle only shortly
                before it is done, and neither steals nor hedges.
        """
        bundle = self._take(worker, owed)
        if bundle is None and not owed:
            stolen = await self._fleet.steal(worker)
            # if nothing was to be had there, something may have come meanwhile
            bundle = Bundle(tests=stolen) if stolen else self._take(worker, owed) or self._hedging.hand_to(worker)
            if bundle is None:
                self._fleet.hungry(worker)
        return bundle

    def _take(self, worker: WorkerView, owed: Mapping[str, Test]) -> Bundle | None:
        self._fleet.looks(worker)
        busy = bool(owed)
        if busy and not self._scheduler.nearly_done(owed.values()):
            return None
        workers = max(self.workers, len(self._fleet), 1)
        fresh = worker.fresh or not self._fresh_will_come()
        while bundle := self._scheduler.take(worker.name, workers=workers, fresh=fresh, busy=busy):
            tests = tuple(filter(self.wants, bundle.tests))
            if tests:
                return evolve(bundle, tests=tests)
        return None

    def _fresh_will_come(self) -> bool:
        """Whether what waits for a fresh sandbox gets one: of those to be had, or of those that have not begun."""
        if self.fresh_is_possible or not self._scheduler.fresh_needed:
            return self.fresh_is_possible
        return any(worker.fresh for worker in self._fleet)

    def wants(self, test: Test) -> bool:
        """Whether the test still has no verdict."""
        return self._attempts.ledger.owes(test.key)

    def begin(self, worker: WorkerView, test: Test) -> RunningAttempt:
        """A test has started: the attempt that messages are about."""
        self._hedging.settled((test,))
        self.progressed()
        return self._attempts.begin(worker, test)

    # -- workers tell ---------------------------------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        """Take note of what a worker saw, and do what follows."""
        self.progressed()
        match message:
            case Finished(attempt, event):
                if (verdict := self._attempts.end(attempt, event.outcome, event)) is not None:
                    self._scheduler.observe(event.duration)
                    self._follow(attempt, again=verdict.again, bad=event.outcome.bad)
            case TimedOut(attempt, limit):
                why = f"took longer than test_timeout_secs ({limit:g} s) and was killed"
                if (verdict := self._attempts.end(attempt, Outcome.TIMED_OUT, message=why)) is not None:
                    self._follow(attempt, again=verdict.again, bad=True)
            case TornDownLate():
                self._torn_down_late(message)
            case Aborted(attempt):
                self._attempts.drop(attempt)
            case Unstarted(tests):
                self._requeue(tests)
            case Returned(bundle):
                self._give_back(bundle)
            case Suspected(attempts):
                self._hedging.suspects.update(attempt.test.key for attempt in attempts)
            case Crashed():
                self._crashed(message)

    def _torn_down_late(self, message: TornDownLate) -> None:
        attempt, event = message.attempt, message.event
        amended = self._attempts.amend(attempt, event)
        if amended is None:
            line = f"a teardown failed for a test that does not count here: {event.key}"
            self._bus.emit(LogLine(sandbox=attempt.worker.name, session=attempt.session, line=line))
        elif amended.again:
            self._retry(attempt)
        elif self._fail_fast:
            self.stop(FAIL_FAST)

    def _crashed(self, message: Crashed) -> None:
        crash = message.crash
        ruling = self._judge.judge(crash, message.attempts, message.incident)
        for _ in (*ruling.convicted, *ruling.broken):
            self._decided(bad=True)
        for unit in ruling.suspects:
            self._hedging.suspects.update(test.key for test in unit)
            self._scheduler.suspect(unit, fresh=crash.kind is CrashKind.SANDBOX)
        if ruling.suspects:
            self._changed()
        self._requeue(ruling.requeue)

    # -- what follows ---------------------------------------------------------------------------------------------

    def _follow(self, attempt: RunningAttempt, *, again: bool, bad: bool) -> None:
        """An attempt has said something of its test."""
        if again:
            self._retry(attempt)
        else:
            self._decided(bad=bad)

    def _give_back(self, bundle: Bundle) -> None:
        tests = tuple(filter(self.wants, bundle.tests))
        if not bundle.suspect:
            self._requeue(tests)
        elif tests and self.stopped is None:  # it still has to show what it does alone
            self._scheduler.suspect(tests, fresh=bundle.fresh)
            self._changed()

    def _retry(self, attempt: RunningAttempt) -> None:
        self._scheduler.retry(attempt.test, avoid=attempt.worker.name)
        self._changed()

    def _decided(self, *, bad: bool) -> None:
        self.verdicts += 1
        if bad and self._fail_fast:
            self.stop(FAIL_FAST)
        elif self.over:
            self._changed()

    def _requeue(self, tests: Iterable[Test]) -> None:
        """Queue what is owed and not running: of a hedged test, one copy may come back while the other runs on."""
        tests = tuple(tests)
        self._hedging.settled(tests)
        tests = tuple(test for test in tests if self.wants(test) and not self._attempts.copies(test.key))
        if tests and self.stopped is None:
            self._scheduler.add(tests)
            self._fleet.wake(len(tests))
            self._on_change()

    def _changed(self) -> None:
        """Everybody has to look again, also who is busy."""
        self._fleet.wake_all()
        self._on_change()
