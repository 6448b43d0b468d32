"""One run: discovery, image and sandboxes side by side, until every test has a verdict or there is a reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..abc import Test
from ..errors import ProviderError
from ..events import Bus, Incident, IncidentKind, Interrupted, TestDiscovered, Warned
from ..liveness import DeathWatch
from ..scheduling import Estimates, LongestFirst
from .artefacts import Artefacts
from .dispatcher import Dispatcher
from .ending import sweep
from .listing import Listing
from .pool import Pool
from .request import RunRequest, StopRequest
from .setup import Setup
from .worker import Worker


async def execute(request: RunRequest, bus: Bus, stop: StopRequest) -> None:
    """Run the tests of a request, and emit what happens; everything but the first and the last event of the journal.

    Returns when every test has a verdict or was said not to have run, and no sandbox of the run is left. Failures of
    tests and of infrastructure are events. Cancelling it is the last resort: sandboxes are terminated, no more.
    """
    setup = Setup(request, bus)
    run = _Run(setup)
    body = asyncio.create_task(run.body(), name="run")
    asked = asyncio.create_task(stop.wait(), name="stop request")
    tending = asyncio.create_task(run.tend(), name="tend")
    both: set[asyncio.Task[None]] = {body, asked}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not body.done():
            bus.emit(Interrupted(signal=stop.signal))
            run.dispatcher.stop("the run was interrupted")
    finally:
        for task in (body, asked, tending):
            task.cancel()
        results = await asyncio.gather(body, asked, tending, return_exceptions=True)
        run.settle()
        async with request.provider, setup.poller:
            await sweep(request.run_id, setup.retry, bus, within=request.timing.sweep)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def collect(request: RunRequest, bus: Bus) -> None:
    """List the tests of a request as a run would, where a run would, and emit what is found.

    Raises:
        ProviderError: the place where they were to be listed could not be made, or failed.

    In any case, and cancelled, no sandbox of it is left.
    """
    setup = Setup(request, bus)

    def found(tests: Sequence[Test]) -> None:
        for test in tests:
            bus.emit(TestDiscovered(test))

    async with request.provider, setup.poller:
        if request.discover_in == "host":
            return await Listing(setup, found).run()
        try:
            await setup.prepare()
            await Listing(setup, found).run()
        finally:
            await sweep(request.run_id, setup.retry, bus, within=request.timing.sweep)


class _Run:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._request = request = setup.request
        self._bus = bus = setup.bus
        self._pool: Pool | None = None
        self._artefacts: Artefacts | None = None
        if request.artefacts is not None:
            self._artefacts = Artefacts(request.artefacts, setup.retry, bus, request.timing)
        self._warned_at = 0.0
        self.dispatcher = Dispatcher(
            LongestFirst(
                Estimates(request.estimates, request.default_duration_secs),
                start_secs=request.framework.start_secs,
                module_secs=request.framework.module_secs,
            ),
            bus,
            hedge=request.offload.hedge,
            fail_fast=request.fail_fast,
            on_change=self._changed,
            timing=request.timing,
        )
        self._listing = Listing(setup, self.dispatcher.add)

    def _changed(self) -> None:
        if self._pool is not None:
            self._pool.changed()

    async def body(self) -> None:
        """Everything until the last sandbox has ended."""
        discovering = asyncio.create_task(self._discover(), name="discovery")
        try:
            if await self._prepare():
                self._pool = Pool(self._setup, self.dispatcher, self._worker)
                await self._pool.run()
            if self.dispatcher.stopped is None:
                await discovering
        finally:
            discovering.cancel()
            await asyncio.wait({discovering})
        if not discovering.cancelled() and (error := discovering.exception()) is not None:
            raise error

    async def _prepare(self) -> bool:
        try:
            await self._setup.prepare()
        except ProviderError as error:
            self.dispatcher.stop(f"the image could not be prepared: {error}")
            return False
        self.dispatcher.progressed()
        return True

    async def _discover(self) -> None:
        try:
            await self._listing.run()
        except ProviderError as error:
            self.dispatcher.stop(f"the tests could not be listed: {error}")
            self._bus.emit(Incident(kind=IncidentKind.DISCOVERY_FAILED, reason=str(error)))
        finally:
            self.dispatcher.discovered()

    def _worker(self, watch: DeathWatch, number: int) -> Worker:
        launch = self._setup.launch(watch, watch.sandbox.ref.name, number)
        return Worker(self._request, self.dispatcher, self._bus, launch, watch, self._listing, self._artefacts)

    def settle(self) -> None:
        """Say of every group that was not listed, and of every test that was not run, why."""
        self._listing.settle(self.dispatcher.stopped or "the run ended before it")
        self.dispatcher.settle("the run ended without it")

    # -- beside the run -------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Look at the run from time to time: hedge, say what it waits for, end it when nothing can come any more."""
        timing = self._request.timing
        while True:
            await asyncio.sleep(timing.tend)
            self.dispatcher.wake_for_hedge()
            now = self._bus.clock()
            still = now - self.dispatcher.last_progress
            if still > self._request.offload.test_timeout_secs + timing.stalled and self._setup.prepared.is_set():
                reason = f"nothing has moved for {still:.0f} s"
                self._bus.emit(Incident(kind=IncidentKind.STALLED, reason=f"{reason}: {self._waiting_for()}"))
                self.dispatcher.stop(reason)
            elif still > timing.still and now - self._warned_at > timing.still:
                self._warned_at = now
                self._bus.emit(Warned(f"nothing has finished for {still:.0f} s; waiting for {self._waiting_for()}"))

    def _waiting_for(self) -> str:
        running = self.dispatcher.waiting_for()
        if not self._setup.prepared.is_set():
            return "the image"
        if not running:
            return "discovery" if self.dispatcher.discovering else "sandboxes or test sessions to start"
        now = self._bus.clock()
        named = [f"{each.test.id} on {each.worker.name} ({now - each.since:.0f} s)" for each in running[:3]]
        return ", ".join(named) + (f" and {len(running) - 3} more" if len(running) > 3 else "")
