"""Drives one test session: work goes in, events come out, time is kept. What its end means is the worker's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import frozen

from ..abc import (
    Bye,
    Collected,
    Heartbeat,
    Hello,
    ModuleStarted,
    SessionEvent,
    TeardownFailed,
    Test,
    TestFinished,
    TestSession,
    TestStarted,
)
from ..errors import FrameworkError, ProviderError, SandboxDead, SandboxLost
from ..liveness import DeathWatch
from ..scheduling import Bundle
from .dispatcher import Dispatcher
from .fleet import WorkerView
from .messages import Aborted, Finished, TornDownLate
from .session_result import SessionResult, result_of
from .session_work import Kill, SessionWork
from .timing import Timing


@frozen(kw_only=True)
class SessionTerms:
    """On what terms a session is driven.

    Attributes:
        test_timeout: how long a test, an import or a shared teardown may take, in seconds.
        timing: how long all else may take.
        leaves_files: whether its end writes files that are to be brought, so that it is not killed lightly.
        collected: called with what it lists, if it was asked to list: it is given no test before that says that all is
            listed.
        up: called when its framework is up.
        log: called with output that is no test's.
    """

    test_timeout: float
    timing: Timing
    leaves_files: bool
    collected: Callable[[Collected], bool] | None
    up: Callable[[Hello], None]
    log: Callable[[str], None]


class SessionDriver:
    """One session from its opening to its end.

    Args:
        worker: whose session it is.
        first: a bundle to begin with.

    Attributes:
        sent: whether it was sent anything.
    """

    def __init__(
        self,
        worker: WorkerView,
        dispatcher: Dispatcher,
        watch: DeathWatch,
        terms: SessionTerms,
        first: Bundle | None = None,
    ) -> None:
        self.sent = False
        self._worker = worker
        self._dispatcher = dispatcher
        self._watch = watch
        self._terms = terms
        self._timing = terms.timing
        self._work = SessionWork(first=first)
        self._listing = terms.collected is not None
        self._leaving = False
        self._ended = False
        self._killing: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._revoking: set[asyncio.Task[Sequence[Test]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()

    async def drive(self, opening: Awaitable[TestSession]) -> SessionResult:
        """Open the session, and drive it until its events end, or its sandbox is gone and what it had said is read.

        What goes wrong is in the result: nothing of the sandbox or the framework is raised.
        """
        how = ""
        try:
            self._session = await self._watch.guard(opening)
            await self._run()
            if self._work.kill is None or not self._work.kill.meant:
                how = await self._how_it_ended()
        except (SandboxDead, SandboxLost) as error:
            self._watch.died(error.message)
        except (ProviderError, FrameworkError) as error:
            return result_of(self._work, how, broken=error)
        return result_of(self._work, how, gone=self._watch.loss() if self._watch.gone.done() else None)

    # -- what others may do ---------------------------------------------------------------------------------------

    @property
    def held(self) -> dict[str, Test]:
        """What it was sent and has not started, in order. What has to run alone is nobody else's to take."""
        return self._work.held if self._work.alone is None else {}

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back held tests; those that are returned are not this session's any more."""
        if not any(test.key in self.held for test in tests):
            return ()  # it was another session, before this one, that held them
        if self._work.closing or self._work.bye is not None or self._work.kill is not None or self._ended:
            return ()

        async def ask() -> Sequence[Test]:
            return await self._watch.guard(self._session.revoke(tests))

        asking = asyncio.create_task(ask())
        self._revoking.add(asking)
        asking.add_done_callback(self._revoking.discard)
        await asyncio.wait({asking})
        if asking.cancelled() or (asking.exception() is None and self._ended):
            return ()  # all it held has been dealt with
        returned = asking.result()
        released = [test for test in returned if self._work.held.pop(test.key, None) is not None]
        for test in released:
            self._work.settle(test.key)
        self.wake()
        return released

    def abort(self, test: Test) -> None:
        """Stop what runs, if it is this test and no other."""
        if list(self._work.running) != [test.key] or self._work.kill is not None:
            return
        if not self._terms.leaves_files:
            return self._start_kill("another attempt at its test has decided", unwanted=True)
        # it comes to its end, within `close` seconds, as it then writes what it has for the tests before, too
        self._leaving = True
        self._dispatcher.tell(Aborted(self._work.leave(test.key)))
        self.wake()

    # -- work goes in ---------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while self._work.hello is None or self._listing:
            if self._dispatcher.over:
                return self._start_kill("the run is over", unwanted=True)
            await self._woken()
        while self._work.kill is None and not self._watch.gone.done():
            if self._dispatcher.over or self._leaving or (self._work.alone is not None and not self._work.owed):
                return await self._close()
            bundle = await self._next()
            if bundle is None:
                await self._woken()
            elif bundle.alone and self.sent:
                self._work.left_over = bundle
                return await self._close()
            else:
                try:
                    await self._send(bundle)
                except ProviderError as error:
                    self._terms.log(f"{error}")
                    return self._start_kill("it could not be reached")

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _next(self) -> Bundle | None:
        """What to send next, if anything."""
        first, self._work.first = self._work.first, None
        if first is not None:
            return first
        if self._work.alone is not None or not self._work.has_room:
            return None
        return await self._dispatcher.next_bundle(self._worker, self._work.owed)

    async def _send(self, bundle: Bundle) -> None:
        self.sent = True
        if not self._work.owed:
            self._arm()
        self._work.give(bundle)
        await self._watch.guard(self._session.run(bundle.tests))

    async def _close(self) -> None:
        self._work.closing = True
        if self._dispatcher.stopped is not None and self._work.owed:
            return self._start_kill(self._dispatcher.stopped, unwanted=True)
        try:
            await self._watch.guard(self._session.close())
        except ProviderError as error:
            self._terms.log(f"{error}")
        await asyncio.sleep(self._timing.close)
        self._start_kill(f"its end took longer than {self._timing.close:g} s", unwanted=self._leaving)

    # -- events come out ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for event in self._session.events:
            self._watch.heartbeat()
            if not isinstance(event, Heartbeat):
                self._on_event(event)

    def _on_event(self, event: SessionEvent) -> None:
        match event:
            case TestStarted(key=key):
                self._began(key)
            case TestFinished():
                self._finished(event)
            case TeardownFailed():
                self._torn_down_late(event)
            case ModuleStarted(path=path):
                self._work.importing = path
                self._arm()
            case Collected():
                if self._terms.collected is not None and self._terms.collected(event):
                    self._listing = False
                    self.wake()
            case Hello():
                self._work.hello = event
                self._terms.up(event)
                self._arm()
                self.wake()
            case Bye():
                self._work.bye = event
            case _:
                pass

    def _began(self, key: str) -> None:
        test = self._work.held.pop(key, None)
        if test is None:
            return self._terms.log(f"it began a test that it was not given: {key}")
        if test.path == self._work.importing:  # several can be imported at once
            self._work.importing = None
        self._work.begin(self._dispatcher.begin(self._worker, test))
        self._arm()
        if not self._dispatcher.wants(test):
            self.abort(test)

    def _finished(self, event: TestFinished) -> None:
        attempt = self._work.running.pop(event.key, None)
        if attempt is None and self._work.is_left(event.key):
            return
        if attempt is None:
            # Some tests end without having begun: their module does not import here, or their id is not found.
            test = self._work.held.pop(event.key, None)
            if test is None:
                return self._terms.log(f"it finished a test that it was not given: {event.key}")
            attempt = self._dispatcher.begin(self._worker, test)
        self._work.finish(attempt, bad=event.outcome.bad)
        self._arm()
        self._dispatcher.tell(Finished(attempt, event))
        if self._work.has_room:
            self.wake()

    def _torn_down_late(self, event: TeardownFailed) -> None:
        self._work.failed = True
        attempt = self._work.ended.pop(event.key, None)
        if attempt is None:
            return self._terms.log(f"a teardown failed for a test that did not end here: {event.key}")
        self._dispatcher.tell(TornDownLate(attempt, event))

    # -- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Give what happens now `test_timeout` from now: an import, a test, or a shared teardown. A start gets more."""
        if self._timer is not None:
            self._timer.cancel()
        limit = self._terms.test_timeout
        if self._work.hello is None:
            limit = max(limit, self._timing.start)
        self._timer = asyncio.get_running_loop().call_later(limit, self._too_long, limit)

    def _too_long(self, limit: float) -> None:
        if self._work.hello is not None and not self._work.owed:
            return  # having nothing to do is not too long
        what = "nothing moved for test_timeout_secs" if self._work.hello is not None else "it said nothing"
        self._start_kill(f"{what} ({limit:g} s)", timed_out=True)

    def _start_kill(self, why: str, *, timed_out: bool = False, unwanted: bool = False) -> None:
        kill = self._work.kill
        if kill is not None:
            kill.unwanted = kill.unwanted or unwanted
            return
        doomed = tuple(self._work.running.values())
        kill = self._work.kill = Kill(why, timed_out, unwanted, doomed, self._work.importing)
        self._killing = asyncio.create_task(self._carry_out(kill), name=f"kill {self._worker.session_name}")

    async def _carry_out(self, kill: Kill) -> None:
        while kill.timed_out and await self._is_silent():  # it may have finished long ago, and nobody hears it
            await asyncio.wait({self._watch.gone}, timeout=self._timing.silent)
        if self._watch.gone.done():
            kill.timed_out = False
            return
        try:
            await self._end_processes()
        except (SandboxDead, SandboxLost):
            return
        assert self._reader is not None  # only a session that is being driven is killed
        await asyncio.wait({self._reader}, timeout=self._timing.end)
        if not self._reader.done():
            self._watch.lost("the output of a killed command did not end")

    async def _is_silent(self) -> bool:
        """Whether nobody knows what goes on in the sandbox: then time that passes is no test's fault."""
        return not self._watch.gone.done() and (await self._watch.probe()).is_unknown

    # -- from its start to its end --------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._arm()
        feeder = asyncio.create_task(self._feed(), name=f"feed {self._worker.session_name}")
        reader = self._reader = asyncio.create_task(self._read(), name=f"read {self._worker.session_name}")
        waited: set[asyncio.Future[Any]] = {reader, self._watch.gone}
        try:
            feeder.add_done_callback(lambda done: done.cancelled() or (done.exception() and reader.cancel()))
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await asyncio.wait({reader}, timeout=self._timing.drain)
        except asyncio.CancelledError:
            self._session.abandon()  # the sandbox is terminated next
            raise
        finally:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
            if self._killing is not None and not self._watch.gone.done():
                await asyncio.wait({self._killing}, timeout=self._timing.end)
            tasks = [task for task in (feeder, reader, self._killing) if task is not None]
            for task in (*tasks, *self._revoking):
                task.cancel()
            await asyncio.gather(*self._revoking, return_exceptions=True)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if self._watch.gone.done():
            self._session.abandon()
        for outcome in outcomes:
            self._look_at(outcome)

    def _look_at(self, outcome: object) -> None:
        match outcome:
            case SandboxDead() | SandboxLost():
                self._watch.died(outcome.message)
            case ProviderError():
                self._terms.log(f"{outcome}")
            case Exception():
                raise outcome
            case _:
                pass

    async def _how_it_ended(self) -> str:
        """The process's exit, in words. A process that outlives its output is ended: it could still run tests.

        Raises:
            SandboxDead, SandboxLost: its sandbox is gone.
            FrameworkUnusable: no session can work there.
        """
        if self._work.bye is None:
            await self._watch.probe()
        try:
            async with asyncio.timeout(self._timing.exit):
                return str(await self._watch.guard(self._session.wait()))
        except TimeoutError:
            pass
        except (SandboxDead, SandboxLost):
            raise
        except ProviderError as error:  # whatever ended it, it was not seen: that is no evidence against a test
            self._watch.lost(f"the connection to its test process broke: {error.message}")
            raise self._watch.loss() from error
        await self._end_processes()
        return "its output ended before its process"

    async def _end_processes(self) -> None:
        """Kill what runs.

        Raises:
            SandboxDead, SandboxLost: its sandbox is gone, or given up, because what was to end may go on.
        """
        try:
            async with asyncio.timeout(self._timing.end):
                await self._watch.guard(self._session.kill())
        except (SandboxDead, SandboxLost):
            raise
        except Exception as error:  # whatever it is
            if (kill := self._work.kill) is not None:
                kill.timed_out = kill.timed_out and not await self._is_silent()
            self._watch.lost(f"a command in it could not be killed: {error!r}")
            raise self._watch.loss() from error
