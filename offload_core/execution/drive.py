"""Drives one test session: work goes in, events come out, time is kept. What its end means is the worker's business."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..abc import (
    Bye,
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
from ..errors import ProviderError, SandboxDead, SandboxLost
from ..liveness import DeathWatch
from ..scheduling import Bundle
from .dispatcher import Dispatcher
from .fleet import Run

if TYPE_CHECKING:
    from .worker import Worker

DRAIN_SECS = 0.25
"""After a death: how long results that had already left the sandbox may take to be read."""

END_SECS = 10.0
"""After a kill: how long the session's stream may take to end before the sandbox is given up."""

START_SECS = 60.0
"""How long a session may take at least until its framework is up, however short the tests' limit is."""

SILENT_SECS = 1.0
"""How long to wait before asking again whether a sandbox can be reached, in which a test seems to take too long."""

CLOSE_SECS = 60.0
"""How long a session's own end (fixtures of the widest scope, coverage data) may take before it is killed."""

MAX_BUNDLES = 2
"""What a session holds at most: the bundle it works on, and one ahead."""


class Drive:
    """One session from its opening to its end.

    Attributes:
        owed: what was sent and is not finished, in order. held: the part of it that has not started.
        running: the tests that run, by key: one, unless its framework runs several at once, or does not tell which of
            a batch it is at. latest: the test that began last.
        importing: the module that is being imported, until one of its tests begins.
        hello, bye: what the session said of itself.
        alone: the bundle that has this session to itself.
        left_over: a bundle that was to be sent and was not.
        timed_out: it was killed because nothing moved for `test_timeout`.
        unwanted: it was killed because what it ran is not wanted any more.
        doomed, doomed_import: what was running or being imported when the kill began.
        why_killed: for people.
        closing: it was asked to end. leaving: it is to be, because what it ran is not wanted any more.
        failed: a test in it failed.
    """

    def __init__(
        self,
        worker: Worker,
        session: TestSession,
        *,
        dispatcher: Dispatcher,
        watch: DeathWatch,
        test_timeout: float,
        first: Bundle | None,
    ) -> None:
        self.session = session
        self.owed: dict[str, Test] = {}
        self.held: dict[str, Test] = {}
        self.running: dict[str, Run] = {}
        self.latest: Run | None = None
        self.importing: str | None = None
        self.hello: Hello | None = None
        self.bye: Bye | None = None
        self.alone: Bundle | None = None
        self.left_over: Bundle | None = None
        self.timed_out = False
        self.unwanted = False
        self.doomed: tuple[Run, ...] = ()
        self.doomed_import: str | None = None
        self.why_killed = ""
        self.closing = False
        self.leaving = False
        self.failed = False
        self._worker = worker
        self._dispatcher = dispatcher
        self._watch = watch
        self._test_timeout = test_timeout
        self._first = first
        self._left: set[str] = set()
        self._bundles: list[set[str]] = []
        self._amendable: dict[str, Run] = {}
        self._wake = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._killing: asyncio.Task[None] | None = None
        self._revoking: set[asyncio.Task[Sequence[Test]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    async def run(self) -> None:
        """Drive until the session's events end, or the sandbox is gone and what it had said is read.

        Raises nothing of the sandbox: the death watch knows. `left_over` is a bundle that needs a new session.
        """
        self._arm()
        feeder = asyncio.create_task(self._feed(), name=f"feed {self._worker.session_name}")
        reader = self._reader = asyncio.create_task(self._read(), name=f"read {self._worker.session_name}")
        waited: set[asyncio.Future[Any]] = {reader, self._watch.gone}
        try:
            feeder.add_done_callback(lambda done: done.cancelled() or (done.exception() and reader.cancel()))
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await asyncio.wait({reader}, timeout=DRAIN_SECS)
        except asyncio.CancelledError:
            self.session.abandon()  # the sandbox is terminated next
            raise
        finally:
            self._ended = True
            if self._first is not None:
                self.left_over = self._first
            if self._timer is not None:
                self._timer.cancel()
            if self._killing is not None and not self._watch.gone.done():
                await asyncio.wait({self._killing}, timeout=END_SECS)
            tasks = [task for task in (feeder, reader, self._killing) if task is not None]
            for task in (*tasks, *self._revoking):
                task.cancel()
            await asyncio.gather(*self._revoking, return_exceptions=True)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if self._watch.gone.done():
            self.session.abandon()
        for result in results:
            self._look_at(result)

    def _look_at(self, result: object) -> None:
        match result:
            case SandboxDead() | SandboxLost():
                self._watch.died(result.message)
            case ProviderError():
                self._worker.log(f"{result}")
            case Exception():
                raise result
            case _:
                pass

    # -- what others may do ---------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back held tests; those that are returned are not this session's any more."""
        if self.closing or self.bye is not None or self._killing is not None or self._ended:
            return ()

        async def ask() -> Sequence[Test]:
            return await self._watch.guard(self.session.revoke(tests))

        asking = asyncio.create_task(ask())
        self._revoking.add(asking)
        asking.add_done_callback(self._revoking.discard)
        await asyncio.wait({asking})
        if asking.cancelled() or (asking.exception() is None and self._ended):
            return ()  # all it held has been dealt with
        returned = asking.result()
        released = [test for test in returned if self.held.pop(test.key, None) is not None]
        for test in released:
            self._settled(test.key)
        self.wake()
        return released

    def abort(self, test: Test) -> None:
        """Stop what runs, if it is this test and no other."""
        if list(self.running) != [test.key] or self._killing is not None:
            return
        if self._worker.leaves_files:  # which it writes at its end, for what it ran before, too
            self._leave(self.running.pop(test.key))
        else:
            self.unwanted = True
            self._kill("another attempt at its test has decided")

    def _leave(self, run: Run) -> None:
        """Let it come to its end, within `CLOSE_SECS`, and care no more for what it runs."""
        self.leaving = True
        self._left.add(run.test.key)
        self._settled(run.test.key)
        self._dispatcher.dropped(run)
        self.wake()

    # -- work goes in ---------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while self.hello is None:
            if self._dispatcher.over:
                return self._discard("the run is over")
            await self._woken()
        while self._killing is None and not self._watch.gone.done():
            if self._dispatcher.over or self.leaving or (self.alone is not None and not self.owed):
                return await self._close()
            bundle = await self._next()
            if bundle is None:
                await self._woken()
            elif bundle.alone and self._bundles:
                self.left_over = bundle
                return await self._close()
            else:
                try:
                    await self._send(bundle)
                except ProviderError as error:
                    self._worker.log(f"{error}")
                    return self._kill("it could not be reached")

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _next(self) -> Bundle | None:
        """What to send next, if anything. An idle worker also steals and hedges."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self.alone is not None or sum(map(bool, self._bundles)) >= MAX_BUNDLES:
            return None
        bundle = self._dispatcher.take(self._worker, self.owed)
        if bundle is None and not self.owed:
            bundle = await self._dispatcher.steal(self._worker) or self._dispatcher.hedge(self._worker)
            if bundle is None:
                self._dispatcher.hungry(self._worker)
        return bundle

    async def _send(self, bundle: Bundle) -> None:
        self._worker.fresh = False
        if bundle.alone:
            self.alone = bundle
        new = {test.key: test for test in bundle.tests}
        if not self.owed:
            self._arm()
        self.owed |= new
        self.held |= new
        self._bundles = [*filter(None, self._bundles), set(new)]
        await self._watch.guard(self.session.run(bundle.tests))

    async def _close(self) -> None:
        self.closing = True
        if self._dispatcher.stopped is not None and self.owed:
            return self._discard(self._dispatcher.stopped)
        try:
            await self._watch.guard(self.session.close())
        except ProviderError as error:
            self._worker.log(f"{error}")
        await asyncio.sleep(CLOSE_SECS)
        self.unwanted = self.unwanted or self.leaving
        self._kill(f"its end took longer than {CLOSE_SECS:g} s")

    # -- events come out ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for event in self.session.events:
            self._watch.heartbeat()
            if not isinstance(event, Heartbeat):
                self._on_event(event)

    def _on_event(self, event: SessionEvent) -> None:
        match event:
            case TestStarted(key=key):
                self._begin(key)
            case TestFinished():
                self._finish(event)
            case TeardownFailed():
                self.failed = True
                if (run := self._amendable.pop(event.key, None)) is not None:
                    self._dispatcher.amend(run, event)
                else:
                    self._worker.log(f"a teardown failed for a test that does not count here: {event.key}")
            case ModuleStarted(path=path):
                self.importing = path
                self._arm()
            case Hello():
                self.hello = event
                self._worker.session_up(event)
                self._arm()
                self.wake()
            case Bye():
                self.bye = event
            case _:
                pass

    def _begin(self, key: str) -> None:
        test = self.held.pop(key, None)
        if test is None:
            return self._worker.log(f"it began a test that it was not given: {key}")
        if test.path == self.importing:  # several can be imported at once
            self.importing = None
        self.running[key] = self.latest = self._dispatcher.began(self._worker, test)
        self._arm()
        if not self._dispatcher.wants(test):
            self.abort(test)

    def _finish(self, event: TestFinished) -> None:
        run = self.running.pop(event.key, None)
        if run is None and event.key in self._left:
            return
        if run is None:
            # Some tests end without having begun: their module does not import here, or their id is not found.
            test = self.held.pop(event.key, None)
            if test is None:
                return self._worker.log(f"it finished a test that it was not given: {event.key}")
            run = self.latest = self._dispatcher.began(self._worker, test)
        self._settled(event.key)
        self.failed = self.failed or event.outcome.bad
        self._worker.finished += 1
        self._arm()
        self._amendable.pop(event.key, None)
        if self._dispatcher.finished_test(run, event):
            self._amendable[event.key] = run
        if sum(map(bool, self._bundles)) < MAX_BUNDLES:
            self.wake()

    def _settled(self, key: str) -> None:
        self.owed.pop(key, None)
        for keys in self._bundles:
            keys.discard(key)

    # -- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Give what happens now `test_timeout` from now: an import, a test, or a shared teardown. A start gets more."""
        if self._timer is not None:
            self._timer.cancel()
        limit = self._test_timeout if self.hello is not None else max(self._test_timeout, START_SECS)
        self._timer = asyncio.get_running_loop().call_later(limit, self._too_long, limit)

    def _too_long(self, limit: float) -> None:
        if self.hello is not None and not self.owed:
            return  # having nothing to do is not too long
        self.timed_out = self.timed_out or self._killing is None
        what = "nothing moved for test_timeout_secs" if self.hello is not None else "it said nothing"
        self._kill(f"{what} ({limit:g} s)")

    def _discard(self, why: str) -> None:
        self.unwanted = True
        self._kill(why)

    def _kill(self, why: str) -> None:
        if self._killing is None:
            self.why_killed = why
            self.doomed, self.doomed_import = tuple(self.running.values()), self.importing
            self._killing = asyncio.create_task(self._kill_session(), name=f"kill {self._worker.session_name}")

    async def _kill_session(self) -> None:
        while self.timed_out and await self._is_silent():  # it may have finished long ago, and nobody hears it
            await asyncio.wait({self._watch.gone}, timeout=SILENT_SECS)
        if self._watch.gone.done():
            self.timed_out = False
            return
        try:
            async with asyncio.timeout(END_SECS):
                await self._watch.guard(self.session.kill())
        except (SandboxDead, SandboxLost):
            return
        except Exception as error:  # whatever it is, what was to end may go on
            self.timed_out = self.timed_out and not await self._is_silent()
            return self._watch.lost(f"a command in it could not be killed: {error!r}")
        assert self._reader is not None  # only a session that is being driven is killed
        await asyncio.wait({self._reader}, timeout=END_SECS)
        if not self._reader.done():
            self._watch.lost("the output of a killed command did not end")

    async def _is_silent(self) -> bool:
        """Whether nobody knows what goes on in the sandbox: then time that passes is no test's fault."""
        return not self._watch.gone.done() and (await self._watch.probe()).is_unknown
