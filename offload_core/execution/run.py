"""One run: discovery, image and sandboxes side by side, until every test has a verdict or there is a reason why not."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ..abc import Executor, Group, Image, Place, Sandbox, SandboxRef, SandboxSpec
from ..discovery import Discovery
from ..errors import ProviderError
from ..events import (
    Bus,
    DiscoveryFinished,
    DiscoveryStarted,
    Incident,
    IncidentKind,
    Interrupted,
    LogLine,
    PrepareFinished,
    PrepareStarted,
    Warned,
)
from ..frameworks.host import HostExecutor
from ..liveness import DeathWatch
from ..retry import RetryPolicy
from ..scheduling import Estimates, LongestFirst
from .artefacts import Artefacts
from .dispatcher import Dispatcher
from .guarded import GuardedExecutor, terminated
from .pool import Pool
from .request import RunRequest, StopRequest
from .worker import Worker

TEND_SECS = 1.0
"""How often the run looks at itself: for tests to hedge, and for whether anything moves."""

STILL_SECS = 60.0
"""After so long without any progress, the run says what it waits for."""

STALLED_SECS = 300.0
"""So long beyond `test_timeout_secs` without any progress, nothing can come any more."""

SWEEP_SECS = 10.0
"""How long the last look for left-over sandboxes may take."""


async def execute(request: RunRequest, bus: Bus, stop: StopRequest) -> None:
    """Run the tests of a request, and emit what happens; everything but the first and the last event of the journal.

    Returns when every test has a verdict or was said not to have run, and no sandbox of the run is left. Failures of
    tests and of infrastructure are events. Cancelling it is the last resort: sandboxes are terminated, no more.
    """
    run = _Run(request, bus)
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
        try:
            await run.sweep()
        finally:
            await request.provider.aclose()
    for result in results:
        if isinstance(result, Exception):
            raise result


class _Run:
    def __init__(self, request: RunRequest, bus: Bus) -> None:
        self._request = request
        self._bus = bus
        self._retry = RetryPolicy(request.retry, request.provider, bus.emit)
        self._pool: Pool | None = None
        self._image: Image | None = None
        self._prepared = asyncio.Event()
        self._begun: set[str] = set()
        self._artefacts = Artefacts(request.artefacts, self._retry, bus) if request.artefacts else None
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
        )

    def _changed(self) -> None:
        if self._pool is not None:
            self._pool.changed()

    async def body(self) -> None:
        """Everything until the last sandbox has ended."""
        discovering = asyncio.create_task(self._discover(), name="discovery")
        try:
            if await self._prepare():
                self._pool = Pool(self._request, self.dispatcher, self._bus, spec=self._spec, worker=self._worker)
                await self._pool.run()
            if self.dispatcher.stopped is None:
                await discovering
        finally:
            discovering.cancel()
            await asyncio.wait({discovering})
        if not discovering.cancelled() and (error := discovering.exception()) is not None:
            raise error

    async def _prepare(self) -> bool:
        request, provider = self._request, self._request.provider
        self._bus.emit(PrepareStarted(provider=provider.context.name))
        try:
            # Building an image takes as long as it takes, and shows its progress meanwhile.
            self._image = await self._retry.call("prepare", lambda: provider.prepare(request.prepare), bounded=False)
        except ProviderError as error:
            self._bus.emit(PrepareFinished(error=str(error)))
            self._bus.emit(Incident(kind=IncidentKind.PREPARE_FAILED, reason=str(error)))
            self.dispatcher.stop(f"the image could not be prepared: {error}")
            return False
        image = self._image
        self._bus.emit(PrepareFinished(image_id=image.id if image else "", image_key=image.key if image else ""))
        self._prepared.set()
        self.dispatcher.progressed()
        return True

    async def _discover(self) -> None:
        request = self._request
        try:
            with tempfile.TemporaryDirectory(prefix="offload-discovery-") as scratch:
                if request.discover_in == "sandbox":
                    await self._discover_in_sandbox()
                else:
                    await self._list(lambda group: self._host_place(group, Path(scratch)))
        except ProviderError as error:
            self.dispatcher.stop(f"the tests could not be listed: {error}")
            self._bus.emit(Incident(kind=IncidentKind.DISCOVERY_FAILED, reason=str(error)))
        finally:
            self.dispatcher.discovered()

    async def _list(self, place: Callable[[Group], Place]) -> None:
        discovery = Discovery(
            framework=self._request.framework,
            place=place,
            bus=self._bus,
            found=self.dispatcher.add,
            at_once=self._request.offload.max_parallel_collection,
            begun=self._begun,
        )
        await discovery.run(self._request.groups)

    async def _discover_in_sandbox(self) -> None:
        """List the tests in a sandbox that is there for nothing else."""
        await self._prepared.wait()
        provider = self._request.provider
        sandbox = await self._retry.call("create", lambda: provider.create(self._spec("discovery")))
        since = self._bus.clock()
        async with DeathWatch(sandbox, self._request.liveness) as watch:
            try:
                executor = GuardedExecutor(watch, self._retry)
                await watch.guard(
                    self._list(lambda group: self._place(sandbox, executor, f"discovery-{group.name}", 0))
                )
            finally:
                await terminated(watch, self._retry, self._bus, since=since)

    # -- what sandboxes and sessions are made from ----------------------------------------------------------------

    def _spec(self, name: str) -> SandboxSpec:
        request = self._request
        return SandboxSpec(
            name=name,
            run_id=request.run_id,
            project=request.project,
            image=self._image,
            env=request.env,
            cwd=request.provider.context.sandbox_root,
            lifetime=request.offload.sandbox_lifetime_secs,
        )

    def _worker(self, sandbox: Sandbox, watch: DeathWatch, number: int) -> Worker:
        request = self._request
        return Worker(
            self.dispatcher,
            request.framework,
            self._place(sandbox, GuardedExecutor(watch, self._retry), sandbox.ref.name, number),
            watch,
            self._bus,
            request.offload.test_timeout_secs,
            self._artefacts,
        )

    def _place(self, sandbox: Sandbox, executor: Executor, name: str, number: int) -> Place:
        return Place(
            name=name,
            executor=executor,
            root=sandbox.root,
            scratch=sandbox.scratch,
            env={**self._request.command_env, "OFFLOAD_ROOT": str(sandbox.root)},
            worker=number,
            log=self._logger(name),
        )

    def _host_place(self, group: Group, scratch: Path) -> Place:
        root = self._request.project_dir
        name = f"discovery-{group.name}"
        return Place(
            name=name,
            executor=HostExecutor(),
            root=PurePosixPath(root),
            scratch=PurePosixPath(scratch / name),
            env={**self._request.command_env, "OFFLOAD_ROOT": str(root)},
            log=self._logger(name),
        )

    def _logger(self, name: str) -> Callable[[str], None]:
        return lambda line: self._bus.emit(LogLine(sandbox=name, session=name, line=line))

    def settle(self) -> None:
        """Say of every group that was not listed, and of every test that was not run, why."""
        for group in self._request.groups:
            if group.name not in self._begun:
                why = self.dispatcher.stopped or "the run ended before it"
                self._bus.emit(DiscoveryStarted(group=group.name))
                self._bus.emit(DiscoveryFinished(group=group.name, count=0, error=why))
        self.dispatcher.settle("the run ended without it")

    # -- beside the run -------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Look at the run from time to time: hedge, say what it waits for, end it when nothing can come any more."""
        while True:
            await asyncio.sleep(TEND_SECS)
            self.dispatcher.wake_for_hedge()
            now = self._bus.clock()
            still = now - self.dispatcher.last_progress
            if still > self._request.offload.test_timeout_secs + STALLED_SECS and self._prepared.is_set():
                reason = f"nothing has moved for {still:.0f} s"
                self._bus.emit(Incident(kind=IncidentKind.STALLED, reason=f"{reason}: {self._waiting_for()}"))
                self.dispatcher.stop(reason)
            elif still > STILL_SECS and now - self._warned_at > STILL_SECS:
                self._warned_at = now
                self._bus.emit(Warned(f"nothing has finished for {still:.0f} s; waiting for {self._waiting_for()}"))

    def _waiting_for(self) -> str:
        runs = self.dispatcher.waiting_for()
        if not self._prepared.is_set():
            return "the image"
        if not runs:
            return "discovery" if self.dispatcher.discovering else "sandboxes or test sessions to start"
        now = self._bus.clock()
        named = [f"{run.test.id} on {run.runner.name} ({now - run.since:.0f} s)" for run in runs[:3]]
        return ", ".join(named) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")

    async def sweep(self) -> None:
        """Terminate whatever still carries the run's label."""
        provider, run_id = self._request.provider, self._request.run_id
        try:
            async with asyncio.timeout(SWEEP_SECS):
                left: Sequence[SandboxRef] = await self._retry.call("list", lambda: provider.list(run_id))
                for _ in range(self._request.retry.attempts):
                    if left:
                        left = tuple(await provider.terminate_many(left))
        except (ProviderError, TimeoutError) as error:
            why = str(error) or f"the backend did not answer in {SWEEP_SECS:g} s"
            self._bus.emit(Warned(f"could not look for sandboxes that were left: {why}. {self._reap()}"))
        else:
            if left:
                ids = ", ".join(ref.id for ref in left)
                self._bus.emit(Warned(f"sandboxes that could not be terminated: {ids}. {self._reap()}"))

    def _reap(self) -> str:
        return f"`offload reap --run {self._request.run_id}` removes them when the backend is back"
