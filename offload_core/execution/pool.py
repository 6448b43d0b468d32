"""Creates sandboxes while there is work for more, replaces those that die, and stops when that makes no sense."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define

from ..abc import Sandbox
from ..errors import CapacityExhausted, FrameworkError, ProviderError, SandboxDead, SandboxLost
from ..events import (
    Incident,
    IncidentKind,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    Warned,
)
from ..kit import END_SECS
from ..liveness import DeathWatch
from .dispatcher import Dispatcher
from .ending import terminated
from .setup import Setup
from .worker import Worker

BREAKER = 5
"""So many sandboxes in a row that end before any test got a verdict are enough."""

MIN_REPLACEMENTS = 8

MakeWorker = Callable[[DeathWatch, int], Worker]


@define
class _Counts:
    created: int = 0
    barren: int = 0
    verdicts: int = 0
    full: int = 0


class Pool:
    """Owns every sandbox from its creation to its termination.

    Args:
        worker: makes the worker for a sandbox and its number.
    """

    def __init__(self, setup: Setup, dispatcher: Dispatcher, worker: MakeWorker) -> None:
        self._setup = setup
        self._request = request = setup.request
        self._dispatcher = dispatcher
        self._bus = setup.bus
        self._timing = request.timing
        self._make_worker = worker
        self._counts = _Counts()
        self._serial = itertools.count(1)
        self._numbers: set[int] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._live: set[str] = set()
        self._why_broken = self._last = ""
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
            while self._tasks or not self._dispatcher.over:
                over = self._dispatcher.over
                if over:
                    for task in self._starting:
                        task.cancel()
                else:
                    self._create_what_is_needed()
                async with asyncio.timeout(self._timing.wind_down if over else None):
                    await self._changed.wait()
                self._changed.clear()
        except TimeoutError:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:  # what ignores even that is left behind; the run's last sweep ends its sandbox
                await asyncio.wait(self._tasks, timeout=self._timing.terminate + END_SECS)

    # -- how many -------------------------------------------------------------------------------------------------

    def _create_what_is_needed(self) -> None:
        possible = self._possible()
        if not self._full:
            for _ in range(min(possible, self._needed())):
                self._start(self._sandbox())
        self._tell()
        if not self._fleet and not possible and self._dispatcher.owed:
            used_up = f"{self._limit} sandboxes were created, and all ended{self._last}"
            self._dispatcher.stop(self._why_broken if self._counts.barren >= BREAKER else used_up)

    @property
    def _fleet(self) -> int:
        return len(self._live) + len(self._starting)

    @property
    def _full(self) -> bool:
        return asyncio.get_running_loop().time() < self._full_until

    def _tell(self) -> None:
        """Let the dispatcher know what it may count on."""
        fresh_is_possible = bool(self._starting or (self._possible() and not self._full))
        self._dispatcher.supply(self._fleet, fresh_is_possible=fresh_is_possible)

    def _possible(self) -> int:
        """How many more sandboxes may be created."""
        if self._counts.barren >= BREAKER:
            return 0
        room = self._request.offload.max_parallel - self._fleet
        return max(min(room, self._limit - self._counts.created), 0)

    def _needed(self) -> int:
        needed = self._dispatcher.shortage - len(self._starting)
        if self._dispatcher.discovering:
            needed = max(needed, self._request.sandboxes_hint - self._fleet)
        return needed

    # -- one sandbox ----------------------------------------------------------------------------------------------

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._counts.created += 1
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        self._starting.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._dispatcher.stop(f"an internal error in Offload: {error!r}; please report it")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a sandbox's task failed", "exception": error, "task": task}
            )
        self._changed.set()

    async def _sandbox(self) -> None:
        name = f"s{next(self._serial)}"
        self._bus.emit(SandboxStarting(sandbox=name))
        try:
            sandbox = await self._setup.create(name)
        except ProviderError as error:
            return self._not_created(name, error)
        except asyncio.CancelledError:
            self._bus.emit(SandboxEnded(sandbox=name, how=SandboxEnd.NOT_CREATED, reason="no longer needed"))
            raise
        finally:
            self._starting.difference_update({asyncio.current_task()})
        self._live.add(name)
        number = min(set(range(len(self._numbers) + 1)) - self._numbers)
        self._numbers.add(number)
        self._counts.full = 0
        try:
            await self._use(sandbox, name, number)
        finally:
            self._numbers.discard(number)
            self._live.discard(name)

    async def _use(self, sandbox: Sandbox, name: str, number: int) -> None:
        self._bus.emit(SandboxReady(sandbox=name, ref=sandbox.ref))
        how, reason, since = SandboxEnd.TERMINATED, "", self._bus.clock()
        async with self._setup.watch(sandbox) as watch:
            worker = self._make_worker(watch, number)
            try:
                await worker.run()
            except (SandboxDead, SandboxLost) as error:
                how = SandboxEnd.LOST if isinstance(error, SandboxLost) else SandboxEnd.DEAD
                reason = error.message
                self._unfruitful(worker, reason)
                self._live.discard(name)  # its place is free at once, whatever ending it for good takes
                self._tell()
            except (ProviderError, FrameworkError) as error:
                reason = str(error)
                self._bus.emit(Incident(kind=IncidentKind.SANDBOX_UNUSABLE, reason=reason, sandbox=name))
                self._unfruitful(worker, reason)
            finally:
                try:
                    await terminated(watch, self._setup.retry, self._bus, since=since, within=self._timing.terminate)
                finally:
                    self._bus.emit(SandboxEnded(sandbox=name, how=how, reason=reason))

    def _not_created(self, name: str, error: ProviderError) -> None:
        self._bus.emit(SandboxEnded(sandbox=name, how=SandboxEnd.NOT_CREATED, reason=str(error)))
        if isinstance(error, CapacityExhausted):
            self._counts.created -= 1
            if not self._full:
                self._no_room(error)
            if self._live or self._starting - {asyncio.current_task()}:
                return
        self._bus.emit(Incident(kind=IncidentKind.CREATE_FAILED, reason=str(error), sandbox=name))
        self._barren(str(error))

    def _no_room(self, error: CapacityExhausted) -> None:
        """Ask no more for a while, each time longer."""
        first, longest = self._timing.full
        wait = min(first * 2**self._counts.full, longest)
        self._counts.full += 1
        loop = asyncio.get_running_loop()
        self._full_until = loop.time() + wait
        loop.call_later(wait, self._changed.set)
        go_on = "The run goes on with those it has, and asks"
        self._bus.emit(Warned(f"no room for another sandbox: {error}. {go_on} again in {wait:g} s"))

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
        self._last = f"; the last: {reason}"
        self._why_broken = f"{counts.barren} sandboxes in a row ended before any test got a verdict{self._last}"
        if counts.barren == BREAKER:
            self._bus.emit(Incident(kind=IncidentKind.BREAKER, reason=self._why_broken))
