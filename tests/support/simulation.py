"""A provider and a framework that live in memory: sandboxes that start late and die, tests that only take time.

They stand behind the real contracts (streams, probes, sessions), so that scheduling, the pool and the whole execution
can be tried with thousands of tests and hundreds of sandboxes. What they leave out: processes, files, any real command.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from offload_core.abc import (
    Bye,
    Collected,
    Collection,
    Command,
    Context,
    Discovered,
    Exit,
    Framework,
    Group,
    Hello,
    Launch,
    LivenessSettings,
    ModuleStarted,
    Outcome,
    PrepareRequest,
    Process,
    Provider,
    SessionEvent,
    TeardownFailed,
    Test,
    TestFinished,
    TestSession,
    TestStarted,
)
from offload_core.config.schema import OffloadTable, RetryTable
from offload_core.errors import ConnectionLost, FrameworkError
from offload_core.events import Bus, Event, Stamped
from offload_core.execution import RunRequest, StopRequest, execute
from offload_core.results.accounting import Accounting
from tests.support.simulated_backend import Backend, Behaviour, MemoryProvider, NoOptions


class MemorySession(TestSession):
    """Talks to a `MemoryProcess`."""

    def __init__(self, process: Process, listed: Mapping[str, Test] | None = None) -> None:
        self._process = process
        self._listed = listed or {}
        self._answers: deque[asyncio.Future[list[str]]] = deque()
        self.events = self._read()

    async def _read(self) -> AsyncIterator[SessionEvent]:  # noqa: C901  # a case for each event
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                match json.loads(line):
                    case {"collected": keys, "complete": complete}:
                        found = tuple(self._listed[key] for key in keys)
                        yield Collected(group="all", found=found, complete=complete)
                    case {"module": path}:
                        yield ModuleStarted(path)
                    case {"teardown": key}:
                        yield TeardownFailed(key=key, message="it cannot be torn down")
                    case {"garbage": _}:
                        raise FrameworkError("that is not the protocol")
                    case {"hello": _}:
                        yield Hello()
                    case {"started": key}:
                        yield TestStarted(key)
                    case {"finished": key, "outcome": outcome, "secs": secs}:
                        yield TestFinished(key=key, outcome=Outcome(outcome), duration=secs)
                    case {"revoked": keys}:
                        self._answers.popleft().set_result(keys)
                    case {"bye": reason}:
                        yield Bye(reason)
        for answer in self._answers:
            answer.set_result([])

    async def _ask(self, **request: object) -> None:
        await self._process.write(json.dumps(request).encode() + b"\n")

    async def run(self, tests: Sequence[Test]) -> None:
        await self._ask(do="run", keys=[test.key for test in tests], paths={test.key: test.path for test in tests})

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await self._ask(do="revoke", keys=[test.key for test in tests])
        given = await asyncio.shield(answer)
        return [test for test in tests if test.key in given]

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLost):
            await self._ask(do="close")

    async def kill(self) -> None:
        await self._process.kill()

    async def wait(self) -> Exit:
        return await self._process.wait()


class MemoryFramework(Framework[NoOptions]):
    """Lists the simulated tests; module by module, with a pause of `module_secs` before each."""

    Options = NoOptions

    def __init__(self, tests: Sequence[Test], module_secs: float = 0.0, *, sessions_list: bool = False) -> None:
        super().__init__(NoOptions())
        self.sessions_list = sessions_list  # type: ignore[misc]  # each simulation has its own kind of framework
        self._tests = tests
        self._module_secs = module_secs

    async def discover(self, group: Group, place: Launch) -> AsyncIterator[Discovered]:
        """List the group's tests."""
        path = ""
        for test in self._tests:
            if test.group != group.name:
                continue
            if test.path != path:
                await asyncio.sleep(self._module_secs)
                path = test.path
            yield test

    async def open(self, place: Launch, collection: Collection) -> TestSession:
        """Start a session."""
        if not collection.listing:
            return MemorySession(await place.executor.exec(Command(argv=("session",))))
        keys = [test.key for test in self._tests]
        command = Command(argv=("session", json.dumps([keys, self._module_secs])))
        return MemorySession(await place.executor.exec(command), {test.key: test for test in self._tests})


def make_tests(behaviours: Mapping[str, Behaviour], per_module: int = 10, **more: Any) -> list[Test]:
    """A test for each behaviour, `per_module` of them to a module; ids equal keys."""
    tests = []
    for index, key in enumerate(behaviours):
        path = f"test_{index // per_module}.py"
        tests.append(Test(key=key, id=key, group="all", path=path, affinity=path, **more))
    return tests


@define
class Simulated:
    """What came of a simulated run."""

    accounting: Accounting
    events: list[Stamped]
    backend: Backend

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one kind."""
        return [stamped.event for stamped in self.events if isinstance(stamped.event, kind)]

    def states(self) -> dict[str, str]:
        """The state of each test."""
        return {key: record.state.value for key, record in self.accounting.records.items()}


async def simulate(  # noqa: PLR0913  # all that a run can be asked for
    tests: Sequence[Test],
    backend: Backend,
    *,
    max_parallel: int = 4,
    offload: Mapping[str, Any] | None = None,
    module_secs: float = 0.0,
    liveness: LivenessSettings | None = None,
    consumers: Sequence[Callable[[Stamped], None]] = (),
    stop: StopRequest | None = None,
    limit: float = 120.0,
    framework: Framework[Any] | None = None,
    provider: Callable[[Backend, Context], Provider[Any]] | None = None,
    **request: Any,
) -> Simulated:
    """Run simulated tests through the real execution; the run may take `limit` seconds of the loop's time at most."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    accounting = Accounting()
    events: list[Stamped] = []
    bus = Bus(clock=lambda: loop.time() - start)
    bus.consumers.extend([lambda stamped: accounting.apply(stamped.event, stamped.at), events.append, *consumers])
    liveness = liveness or LivenessSettings(interval_secs=0.05, timeout_secs=0.2, lost_after_secs=0.5)
    context = Context(name="memory", liveness=liveness, max_parallel=max_parallel)
    defaults: dict[str, Any] = {
        "groups": (Group(name="all"),),
        "retry": RetryTable(initial_wait_secs=0.01, max_wait_secs=0.05),
    }
    run = RunRequest(
        run_id="run",
        provider=(provider or MemoryProvider)(backend, context),
        framework=framework or MemoryFramework(tests, module_secs),
        project="simulation",
        project_dir=Path("/"),
        offload=OffloadTable(max_parallel=max_parallel, **(offload or {})),
        prepare=PrepareRequest(context=Path("/")),
        **(defaults | request),
    )
    async with asyncio.timeout(limit):
        await execute(run, bus, stop or StopRequest())
    return Simulated(accounting, events, backend)


__all__ = [
    "Backend",
    "Behaviour",
    "MemoryFramework",
    "MemoryProvider",
    "Simulated",
    "make_tests",
    "simulate",
]
