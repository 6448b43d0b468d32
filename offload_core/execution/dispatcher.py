"""Decides what happens to each test: the one place that knows what is owed, waiting, held, running and decided.

Synchronous but for stealing, which has to ask a session. Workers call it with what they see; it answers with what to
run, and emits the events. It knows nothing of sandboxes but their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, evolve, field

from ..abc import Attempt, Outcome, TeardownFailed, Test, TestFinished
from ..events import (
    AttemptAmended,
    AttemptDropped,
    AttemptFinished,
    Bus,
    Incident,
    TestBegan,
    TestDiscovered,
    TestNotRun,
)
from ..scheduling import Bundle, Crash, CrashKind, Poison, Ruling, Scheduler, overdue_by
from .fleet import Fleet, Run, Runner

FAIL_FAST = "stopped by --fail-fast after the first failure"


@define
class _Debts:
    """The tests that are owed a verdict."""

    open: dict[str, Test] = field(factory=dict)
    numbers: Counter[str] = field(factory=Counter)
    failures: Counter[str] = field(factory=Counter)
    running: dict[str, list[Run]] = field(factory=dict)
    suspects: set[str] = field(factory=set)
    hedges: dict[str, Runner] = field(factory=dict)
    aborting: set[Run] = field(factory=set)


class Dispatcher:
    """See the module's docstring. `on_change` is called when the pool may have to do something."""

    def __init__(
        self, scheduler: Scheduler, bus: Bus, *, hedge: bool, fail_fast: bool, on_change: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._bus = bus
        self._hedge = hedge
        self._fail_fast = fail_fast
        self._on_change = on_change
        self._debts = _Debts()
        self._poison = Poison()
        self._fleet = Fleet(scheduler.estimate, self._requeue)
        self.discovering = True
        self.stopped: str | None = None
        self.last_progress = bus.clock()
        self.verdicts = 0
        self.workers = 0
        self.fresh_is_possible = True

    # -- what is owed ---------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or the run was stopped."""
        return self.stopped is not None or (not self.discovering and not self._debts.open)

    @property
    def owed(self) -> int:
        """How many tests have no verdict yet."""
        return len(self._debts.open)

    @property
    def shortage(self) -> int:
        """How many more workers would have something to do at once."""
        shortage = self._scheduler.waiting - self._fleet.eager
        fresh = sum(runner.fresh for runner in self._fleet)
        return max(shortage, self._scheduler.fresh_needed - fresh, 0)

    def add(self, tests: Iterable[Test]) -> None:
        """Tests that discovery found."""
        new = tuple(tests)
        for test in new:
            self._debts.open[test.key] = test
            self._bus.emit(TestDiscovered(test))
        self._requeue(new)
        self.progressed()

    def discovered(self) -> None:
        """Discovery has ended."""
        self.discovering = False
        self.progressed()
        if self.over:
            self._fleet.wake_all()
            self._on_change()

    def stop(self, reason: str) -> None:
        """Nothing more is started; what runs is given up."""
        if self.stopped is None:
            self.stopped = reason
            self._scheduler.clear()
            self._fleet.wake_all()
            self._on_change()

    def progressed(self) -> None:
        """Something moved."""
        self.last_progress = self._bus.clock()

    def settle(self, reason: str) -> None:
        """The run is over: say of every test that has no verdict why."""
        for test in self._debts.open.values():
            self._bus.emit(TestNotRun(test=test.key, reason=self.stopped or reason))
        self._debts.open.clear()

    def waiting_for(self) -> list[Run]:
        """What runs now, longest first."""
        runs = [run for runs in self._debts.running.values() for run in runs]
        return sorted(runs, key=lambda run: run.since)

    # -- workers ask ----------------------------------------------------------------------------------------------

    def join(self, runner: Runner) -> None:
        """A worker is ready."""
        self._fleet.join(runner)
        self.progressed()

    def leave(self, runner: Runner) -> None:
        """A worker is gone; what it held was dealt with before."""
        hedges = self._debts.hedges
        for key in [key for key, hedging in hedges.items() if hedging is runner]:
            del hedges[key]
        self._fleet.leave(runner)
        self._fleet.wake_all()
        self._on_change()

    def supply(self, fleet: int, *, fresh_is_possible: bool) -> None:
        """How many sandboxes there are or will be soon, and whether another that is fresh can be had."""
        alone = fleet <= 1 < self.workers
        no_fresh = self.fresh_is_possible and not fresh_is_possible and self._scheduler.fresh_needed > 0
        self.workers, self.fresh_is_possible = fleet, fresh_is_possible
        if alone or no_fresh:
            self._fleet.wake_all()  # what waited for another worker, or for a fresh one, must not wait any longer

    def take(self, runner: Runner, owed: Mapping[str, Test]) -> Bundle | None:
        """The next bundle that waits, or None; to a runner that still owes results only shortly before it is done."""
        self._fleet.looks(runner)
        busy = bool(owed)
        if busy and not self._scheduler.nearly_done(owed.values()):
            return None
        workers = max(self.workers, len(self._fleet), 1)
        fresh = runner.fresh or not self._fresh_will_come()
        while bundle := self._scheduler.take(runner.name, workers=workers, fresh=fresh, busy=busy):
            tests = tuple(test for test in bundle.tests if test.key in self._debts.open)
            if tests:
                return evolve(bundle, tests=tests)
        return None

    def _fresh_will_come(self) -> bool:
        """Whether what waits for a fresh sandbox gets one: of those to be had, or of those that have not begun."""
        if self.fresh_is_possible or not self._scheduler.fresh_needed:
            return self.fresh_is_possible
        return any(runner.fresh for runner in self._fleet)

    async def steal(self, thief: Runner) -> Bundle | None:
        """What another worker holds and has not started, if there is any."""
        stolen = await self._fleet.steal(thief)
        return Bundle(tests=stolen) if stolen else None

    def hedge(self, runner: Runner) -> Bundle | None:
        """The running test that is longest past its estimate, to be run a second time; or None."""
        run = self._overdue()
        if run is None or run.runner is runner:
            return None
        self._debts.hedges[run.test.key] = runner
        return Bundle(tests=(run.test,), alone=run.test.individual)

    def wake_for_hedge(self) -> None:
        """Called from time to time: wakes an idle worker if a test is due to be hedged, or may be given up by now."""
        if self._fleet.waiting and (self._fleet.may_give or self._overdue() is not None):
            self._fleet.wake(1)

    def hungry(self, runner: Runner) -> None:
        """The worker found nothing to do and waits to be woken."""
        self._fleet.hungry(runner)

    # -- workers tell ---------------------------------------------------------------------------------------------

    def began(self, runner: Runner, test: Test) -> Run:
        """A test has started."""
        debts = self._debts
        debts.numbers[test.key] += 1
        debts.hedges.pop(test.key, None)
        others = debts.running.setdefault(test.key, [])
        run = Run(test, debts.numbers[test.key], runner, runner.session_name, self._bus.clock(), bool(others))
        others.append(run)
        self.progressed()
        self._bus.emit(
            TestBegan(test=test.key, number=run.number, sandbox=runner.name, session=run.session, hedge=run.hedge)
        )
        return run

    def wants(self, test: Test) -> bool:
        """Whether the test still has no verdict."""
        return test.key in self._debts.open

    def finished_test(self, run: Run, event: TestFinished) -> bool:
        """A test has ended by itself. Whether that counts: it does not if another attempt has decided."""
        self._close(run)
        if run.test.key not in self._debts.open:
            self._bus.emit(AttemptDropped(test=run.test.key, number=run.number))
            return False
        self._scheduler.observe(event.duration)
        self._verdict(run, self._attempt(run, event.outcome, event=event))
        return True

    def timed_out(self, run: Run, limit: float) -> None:
        """A test was killed because it ran too long."""
        self._close(run)
        if run.test.key in self._debts.open:
            message = f"took longer than test_timeout_secs ({limit:g} s) and was killed"
            self._verdict(run, self._attempt(run, Outcome.TIMED_OUT, message=message))
        else:
            self._bus.emit(AttemptDropped(test=run.test.key, number=run.number))

    def amend(self, run: Run, event: TeardownFailed) -> None:
        """A finished test turns out to have left something that cannot be torn down."""
        key = run.test.key
        was_decided = key not in self._debts.open
        self._debts.failures[key] += was_decided  # else it has failed already, and waits for its next attempt
        again = was_decided and self._may_retry(run.test)
        self._bus.emit(
            AttemptAmended(test=key, number=run.number, message=event.message, details=event.details, again=again)
        )
        if again:
            self._debts.open[key] = run.test
            self._retry(run)
        elif self._fail_fast:
            self.stop(FAIL_FAST)

    def give_back(self, tests: Iterable[Test]) -> None:
        """Tests that were sent and did not start, for a reason that is nobody's fault."""
        self._requeue(tests)

    def dropped(self, run: Run) -> None:
        """A run that was aborted because it was not wanted any more has ended."""
        self._close(run)
        self._bus.emit(AttemptDropped(test=run.test.key, number=run.number))

    def suspected(self, runs: Iterable[Run]) -> None:
        """Their session has ended under them: until `crashed` has judged that, no second copy of them begins."""
        self._debts.suspects.update(run.test.key for run in runs)

    def crashed(self, crash: Crash, runs: Sequence[Run], incident: Incident) -> Ruling:
        """A session or a sandbox ended before its tests did. `incident` is completed and emitted."""
        for run in runs:
            self._close(run)
        still = {run.test.key for run in runs if run.test.key in self._debts.open}
        shadowed = {key for key in still if key in self._debts.running}  # another copy of it runs on
        running = tuple(test for test in crash.running if test.key in still - shadowed)
        unstarted = tuple(test for test in crash.unstarted if test.key in self._debts.open)
        if crash.running and not running:
            ruling = Ruling(requeue=unstarted)  # what ran is decided or runs elsewhere: it explains the end
        else:
            ruling = self._poison.judge(evolve(crash, running=running, unstarted=unstarted))
        suspects = tuple(test for unit in ruling.suspects for test in unit)
        self._bus.emit(
            evolve(
                incident,
                requeued=tuple(test.key for test in (*ruling.requeue, *suspects)),
                suspects=tuple(test.key for test in (*suspects, *ruling.convicted)),
            )
        )
        by_key = {run.test.key: run for run in runs}
        for run in runs:
            if run.test.key not in still or run.test.key in shadowed:
                self._bus.emit(AttemptDropped(test=run.test.key, number=run.number))
        nobody_knows = crash.kind is CrashKind.SANDBOX or len(running) > 1
        self._carry_out(ruling, crash.kind, by_key, incident, Outcome.LOST if nobody_knows else Outcome.CRASHED)
        return ruling

    # -- inside ---------------------------------------------------------------------------------------------------

    def _carry_out(
        self, ruling: Ruling, kind: CrashKind, runs: dict[str, Run], incident: Incident, suspected: Outcome
    ) -> None:
        """`suspected` is how the attempt of a suspect has ended."""
        what = "its sandbox" if kind is CrashKind.SANDBOX else "its process"
        for test in ruling.convicted:
            self._end(test, runs.get(test.key), incident, Outcome.CRASHED, f"{what} ended again while it ran alone")
        for test in ruling.broken:
            self._end(test, None, incident, Outcome.ERROR, f"{what} ended twice before a test of {test.path} began")
        for unit in ruling.suspects:
            for test in unit:
                self._debts.suspects.add(test.key)
                run = runs.get(test.key)
                if run is not None:
                    attempt = self._attempt(run, suspected, message=f"{what} ended while it ran: {incident.reason}")
                    self._bus.emit(AttemptFinished(evolve(attempt, details=incident.details), again=True))
            self._scheduler.suspect(unit, fresh=kind is CrashKind.SANDBOX)
        if ruling.suspects:
            self._fleet.wake_all()
            self._on_change()
        self._requeue(ruling.requeue)

    def _end(self, test: Test, run: Run | None, incident: Incident, outcome: Outcome, message: str) -> None:
        """A verdict that no test run gave: it is final."""
        message = f"{message}: {incident.reason}"
        if run is None:
            self._debts.numbers[test.key] += 1
            now = self._bus.clock()
            attempt = Attempt(
                test=test.key,
                number=self._debts.numbers[test.key],
                sandbox=incident.sandbox,
                session=incident.session,
                outcome=outcome,
                start=now,
                duration=0.0,
                message=message,
                details=incident.details,
            )
        else:
            attempt = evolve(self._attempt(run, outcome, message=message), details=incident.details)
        self._bus.emit(AttemptFinished(attempt))
        self._decide(test, bad=True)

    def _attempt(self, run: Run, outcome: Outcome, *, event: TestFinished | None = None, message: str = "") -> Attempt:
        return Attempt(
            test=run.test.key,
            number=run.number,
            sandbox=run.runner.name,
            session=run.session,
            outcome=outcome,
            start=run.since,
            duration=event.duration if event else self._bus.clock() - run.since,
            message=event.message if event else message,
            details=event.details if event else "",
            output=event.output if event else (),
            properties=event.properties if event else (),
            hedge=run.hedge,
        )

    def _verdict(self, run: Run, attempt: Attempt) -> None:
        """An attempt that says something of its test. The first one of several copies counts."""
        bad = attempt.outcome.bad
        self._debts.failures[run.test.key] += bad
        again = bad and self._may_retry(run.test)
        self._bus.emit(AttemptFinished(attempt, again=again))
        for other in self._debts.running.get(run.test.key, ()):
            self._debts.aborting.add(other)
            other.runner.abort(run.test)
        if again:
            self._retry(run)
        else:
            self._decide(run.test, bad=bad)

    def _may_retry(self, test: Test) -> bool:
        return self.stopped is None and not self._fail_fast and self._debts.failures[test.key] <= test.retries

    def _retry(self, run: Run) -> None:
        self._scheduler.retry(run.test, avoid=run.runner.name)
        self.progressed()
        self._fleet.wake_all()
        self._on_change()

    def _decide(self, test: Test, *, bad: bool) -> None:
        self._debts.open.pop(test.key, None)
        self.verdicts += 1
        self.progressed()
        if bad and self._fail_fast:
            self.stop(FAIL_FAST)
        elif self.over:
            self._fleet.wake_all()
            self._on_change()

    def _close(self, run: Run) -> None:
        self.progressed()
        self._debts.aborting.discard(run)
        runs = self._debts.running.get(run.test.key, [])
        if run in runs:
            runs.remove(run)
        if not runs:
            self._debts.running.pop(run.test.key, None)

    def _requeue(self, tests: Iterable[Test]) -> None:
        """Queue what is owed and not running: of a hedged test, one copy may come back while the other runs on."""
        debts = self._debts
        tests = tuple(tests)
        for test in tests:
            debts.hedges.pop(test.key, None)
        tests = tuple(test for test in tests if test.key in debts.open and test.key not in debts.running)
        if tests and self.stopped is None:
            self._scheduler.add(tests)
            self._fleet.wake(len(tests))
            self._on_change()

    def _overdue(self) -> Run | None:
        """The test to hedge: not one that is being hedged or ended already. Of several that one session runs, nobody
        knows since when each of them does.
        """
        if not self._hedge or self._scheduler.waiting:
            return None
        now = self._bus.clock()
        best: Run | None = None
        most = 0.0
        at_once = Counter(run.session for runs in self._debts.running.values() for run in runs)
        for key, runs in self._debts.running.items():
            if len(runs) > 1 or runs[0] in self._debts.aborting or key in self._debts.hedges:
                continue
            if at_once[runs[0].session] == 1 and key not in self._debts.suspects:
                past = overdue_by(now - runs[0].since, self._scheduler.expected(runs[0].test))
                if past > most:
                    best, most = runs[0], past
        return best
