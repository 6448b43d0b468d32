"""Creates sandboxes while there is work for more, replaces those that die, and stops when that makes no sense."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define

from ..abc import Sandbox, SandboxSpec
from ..errors import CapacityExhausted, FrameworkError, ProviderError, SandboxDead, SandboxLost
from ..events import (
    Bus,
    Incident,
    IncidentKind,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    Warned,
)
from ..liveness import DeathWatch
from ..retry import RetryPolicy
from .dispatcher import Dispatcher
from .request import RunRequest
from .worker import Worker

BREAKER = 5
"""So many sandboxes in a row that end before any test got a verdict are enough."""

MIN_REPLACEMENTS = 8

CAPACITY_SECS = (5.0, 60.0)
"""After a backend said that it is full: the first and the longest time before another sandbox is asked for."""

TERMINATE_SECS = 30.0
"""How long ending one sandbox may take in all."""

MakeWorker = Callable[[Sandbox, DeathWatch, int], Worker]


@define
class _Counts:
    created: int = 0
    starting: int = 0
    live: int = 0
    barren: int = 0
    verdicts: int = 0
    full: int = 0


class Pool:
    """Owns every sandbox from its creation to its termination.

    Args:
        spec: makes the spec of a sandbox from its name.
        worker: makes the worker for a sandbox and its number.
    """

    def __init__(
        self,
        request: RunRequest,
        dispatcher: Dispatcher,
        bus: Bus,
        *,
        spec: Callable[[str], SandboxSpec],
        worker: MakeWorker,
    ) -> None:
        self._request = request
        self._dispatcher = dispatcher
        self._bus = bus
        self._spec = spec
        self._make_worker = worker
        self._retry = RetryPolicy(request.retry, request.provider, bus.emit)
        self._counts = _Counts()
        self._serial = itertools.count(1)
        self._numbers: set[int] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._why_broken = ""
        self._full_until = 0.0
        replacements = request.offload.max_replacements
        if replacements is None:
            replacements = max(request.offload.max_parallel, MIN_REPLACEMENTS)
        self._limit = request.offload.max_parallel + replacements

    def changed(self) -> None:
        """There is more work, or less."""
        self._changed.set()

    async def run(self) -> None:
        """Create and replace until the run is over; return when every sandbox has been ended, also when cancelled."""
        try:
            while not self._dispatcher.over:
                self._create_what_is_needed()
                await self._changed.wait()
                self._changed.clear()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            while self._tasks:
                await asyncio.wait(self._tasks)

    # -- how many -------------------------------------------------------------------------------------------------

    def _create_what_is_needed(self) -> None:
        counts = self._counts
        possible = self._possible()
        self._dispatcher.fresh_is_possible = bool(possible or counts.starting)
        for _ in range(min(possible, self._needed())):
            self._start(self._sandbox())
        self._dispatcher.fleet = counts.live + counts.starting
        if not counts.live and not counts.starting and not possible and self._dispatcher.owed:
            self._dispatcher.stop(self._why_broken or f"{self._limit} sandboxes were created, and all ended")

    def _possible(self) -> int:
        """How many more sandboxes may be created now."""
        counts = self._counts
        if counts.barren >= BREAKER:
            return 0
        if counts.live and asyncio.get_running_loop().time() < self._full_until:
            return 0
        room = self._request.offload.max_parallel - counts.live - counts.starting
        return max(min(room, self._limit - counts.created), 0)

    def _needed(self) -> int:
        counts = self._counts
        needed = self._dispatcher.shortage - counts.starting
        if self._dispatcher.discovering:
            needed = max(needed, self._request.sandboxes_hint - counts.starting - counts.live)
        return needed

    # -- one sandbox ----------------------------------------------------------------------------------------------

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._counts.created += 1
        self._counts.starting += 1
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._dispatcher.stop(f"an internal error in Offload: {error!r}; please report it")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a sandbox's task failed", "exception": error, "task": task}
            )
        self._changed.set()

    async def _sandbox(self) -> None:
        name = f"s{next(self._serial)}"
        self._bus.emit(SandboxStarting(sandbox=name))
        spec = self._spec(name)
        try:
            sandbox = await self._retry.call("create", lambda: self._request.provider.create(spec))
        except ProviderError as error:
            return self._not_created(name, error)
        except asyncio.CancelledError:
            self._bus.emit(SandboxEnded(sandbox=name, how=SandboxEnd.NOT_CREATED, reason="no longer needed"))
            raise
        finally:
            self._counts.starting -= 1
        self._counts.live += 1
        number = min(set(range(len(self._numbers) + 1)) - self._numbers)
        self._numbers.add(number)
        self._counts.full = 0
        try:
            await self._use(sandbox, name, number)
        finally:
            self._numbers.discard(number)
            self._counts.live -= 1

    async def _use(self, sandbox: Sandbox, name: str, number: int) -> None:
        self._bus.emit(SandboxReady(sandbox=name, ref=sandbox.ref))
        how, reason = SandboxEnd.TERMINATED, ""
        async with DeathWatch(sandbox, self._request.liveness) as watch:
            worker = self._make_worker(sandbox, watch, number)
            try:
                await worker.run()
            except (SandboxDead, SandboxLost) as error:
                how = SandboxEnd.LOST if isinstance(error, SandboxLost) else SandboxEnd.DEAD
                reason = error.message
                self._unfruitful(worker, reason)
            except (ProviderError, FrameworkError) as error:
                reason = str(error)
                self._bus.emit(Incident(kind=IncidentKind.SANDBOX_UNUSABLE, reason=reason, sandbox=name))
                self._unfruitful(worker, reason)
            finally:
                await self._terminate(watch)
                self._bus.emit(SandboxEnded(sandbox=name, how=how, reason=reason))

    async def _terminate(self, watch: DeathWatch) -> None:
        """End it; a dead one once, for what may be left of it. What fails here is swept at the end of the run."""
        terminate = watch.sandbox.terminate
        try:
            async with asyncio.timeout(TERMINATE_SECS):
                if watch.gone.done():
                    async with asyncio.timeout(self._retry.settings.call_timeout_secs):
                        await terminate()
                else:
                    await self._retry.call("terminate", terminate)
        except SandboxDead:
            pass
        except (ProviderError, TimeoutError) as error:
            self._bus.emit(
                Incident(
                    kind=IncidentKind.TERMINATE_FAILED,
                    reason=str(error) or f"no answer in {TERMINATE_SECS:g} s",
                    sandbox=watch.sandbox.ref.name,
                )
            )

    def _not_created(self, name: str, error: ProviderError) -> None:
        self._bus.emit(SandboxEnded(sandbox=name, how=SandboxEnd.NOT_CREATED, reason=str(error)))
        counts = self._counts
        if isinstance(error, CapacityExhausted):
            counts.created -= 1
            first, longest = CAPACITY_SECS
            wait = min(first * 2**counts.full, longest)
            counts.full += 1
            loop = asyncio.get_running_loop()
            if loop.time() >= self._full_until:
                self._bus.emit(Warned(f"no room for another sandbox: {error}. The run goes on with {counts.live}"))
            self._full_until = loop.time() + wait
            loop.call_later(wait, self._changed.set)
            if counts.live:
                return
        self._bus.emit(Incident(kind=IncidentKind.CREATE_FAILED, reason=str(error), sandbox=name))
        self._barren(str(error))

    # -- the breaker ----------------------------------------------------------------------------------------------

    def _unfruitful(self, worker: Worker, reason: str) -> None:
        """A sandbox has ended by itself. What ends with a suspect in it says nothing of the infrastructure."""
        if not worker.finished and not worker.on_trial:
            self._barren(reason)

    def _barren(self, reason: str) -> None:
        counts = self._counts
        if self._dispatcher.verdicts > counts.verdicts:
            counts.verdicts = self._dispatcher.verdicts
            counts.barren = 0
        counts.barren += 1
        self._why_broken = f"{counts.barren} sandboxes in a row ended before any test got a verdict; the last: {reason}"
        if counts.barren == BREAKER:
            self._bus.emit(Incident(kind=IncidentKind.BREAKER, reason=self._why_broken))
