"""Small suites on disk, listed and run by the real framework with a real pytest, or by pytest alone to compare.

The interpreter whose pytest is driven is `OFFLOAD_TEST_PYTHON`, by default the one that runs these tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

from attrs import define, evolve, field

from offload_core.abc import (
    Bye,
    Collection,
    Command,
    Discovered,
    Exit,
    Group,
    Launch,
    Process,
    SessionEvent,
    TeardownFailed,
    Test,
    TestFinished,
    TestSession,
)
from offload_core.execution.host import HostExecutor
from offload_core.frameworks.pytest import Pytest, PytestOptions
from offload_core.kit import HostProcess

PYTHON = os.environ.get("OFFLOAD_TEST_PYTHON") or sys.executable
BOUND_SECS = 120.0
GROUP = Group(name="all")
EventT = TypeVar("EventT", bound=SessionEvent)

_RECORDER = """
import json, os
seen = {}
config = None
def pytest_configure(config):
    globals()["config"] = config
def pytest_runtest_logreport(report):
    status = config.hook.pytest_report_teststatus(report=report, config=config)[0]
    seen.setdefault(report.nodeid, []).append(status)
def pytest_collection_finish(session):
    order = [item.nodeid for item in session.items]
    with open(os.environ["RECORD"] + ".order", "w") as out:
        json.dump(order, out)
def pytest_sessionfinish():
    with open(os.environ["RECORD"], "w") as out:
        json.dump(seen, out)
"""


@cache
def has_module(name: str) -> bool:
    """Is a module there for the pytest that is driven?"""
    return subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


@cache
def pytest_version() -> tuple[int, ...]:
    """Of the pytest that is driven."""
    said = subprocess.run(
        [PYTHON, "-c", "import pytest; print(pytest.__version__)"], capture_output=True, check=True, text=True
    ).stdout
    return tuple(int(part) for part in said.split(".")[:2])


@define
class Listing:
    """What a discovery said."""

    found: list[Discovered] = field(factory=list)
    log: list[str] = field(factory=list)

    @property
    def tests(self) -> list[Test]:
        """The tests, in order."""
        return [each for each in self.found if isinstance(each, Test)]

    @property
    def ids(self) -> list[str]:
        """Their ids, in order."""
        return [test.id for test in self.tests]

    @property
    def modules(self) -> list[Any]:
        """What was found that is no test."""
        return [each for each in self.found if not isinstance(each, Test)]

    def __getitem__(self, test_id: str) -> Test:
        (test,) = (test for test in self.tests if test.id == test_id)
        return test


@define
class Live:
    """A session under test, the process behind it, and its events, gathered as they come."""

    session: TestSession
    process: Process
    log: list[str]
    events: list[SessionEvent] = field(factory=list)

    async def until(self, reached: Callable[[SessionEvent], bool]) -> SessionEvent:
        """Read events up to the first for which `reached` says so."""
        if (event := await self.until_end(reached)) is not None:
            return event
        raise AssertionError(f"the events ended: {self.events[-5:]}\n" + "\n".join(self.log[-30:]))

    async def until_end(self, reached: Callable[[SessionEvent], bool]) -> SessionEvent | None:
        """As `until`, but None if the events end before."""
        async with asyncio.timeout(BOUND_SECS):
            async for event in self.session.events:
                self.events.append(event)
                if reached(event):
                    return event
        return None

    async def finished(self, test: Test) -> TestFinished:
        """Read events up to the end of a test."""
        event = await self.until(lambda event: isinstance(event, TestFinished) and event.key == test.key)
        assert isinstance(event, TestFinished)
        return event

    async def rest(self) -> Exit:
        """Read all events that are left, and how the process ended."""
        async with asyncio.timeout(BOUND_SECS):
            async for event in self.session.events:
                self.events.append(event)
            return await self.session.wait()

    def of(self, kind: type[EventT]) -> list[EventT]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def bye(self) -> Bye | None:
        """The goodbye, if there was one; it must be the last event."""
        byes = self.of(Bye)
        assert not byes or (len(byes) == 1 and self.events[-1] is byes[0])
        return byes[0] if byes else None


@define
class Ran:
    """A whole session: all events and the process's end."""

    events: Live
    exit: Exit
    tests: Sequence[Test]

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcomes by id, late teardown failures counted; ids that occur more than once get a number."""
        late = {event.key for event in self.events.of(TeardownFailed)}
        by_key = {
            event.key: "error" if event.key in late and event.outcome.good else event.outcome.value
            for event in self.events.of(TestFinished)
        }
        named: dict[str, str] = {}
        for test in self.tests:
            name = test.id if test.id not in named else f"{test.id} #{test.key.split(':')[1]}"
            if test.key in by_key:
                named[name] = by_key[test.key]
        return named

    def __getitem__(self, test_id: str) -> TestFinished:
        keys = {test.key for test in self.tests if test.id == test_id}
        (event,) = (event for event in self.events.of(TestFinished) if event.key in keys)
        return event


class Recorder(HostExecutor):
    """Knows what it has started."""

    def __init__(self) -> None:
        self.started: list[Process] = []

    async def exec(self, command: Command) -> HostProcess:
        """Start it, and note it."""
        self.started.append(process := await super().exec(command))
        return process


class Suite:
    """A project in a directory of its own."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.directory = directory
        self.scratch = scratch
        self.root = directory
        self.env: dict[str, str] = {"PYTHONHASHSEED": "7"}
        self._sessions = 0

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files; text is dedented."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                content = textwrap.dedent(content).encode("utf-8", "surrogateescape")
            path.write_bytes(content)

    def framework(self, **options: Any) -> Pytest:
        """The framework, driving `PYTHON` unless told otherwise."""
        return Pytest(PytestOptions(**{"command": f"{shlex.quote(PYTHON)} -m pytest", **options}))

    def launch(self, log: list[str], executor: HostExecutor | None = None) -> Launch:
        """Where it runs."""
        self._sessions += 1
        return Launch(
            name=f"session-{self._sessions}",
            executor=executor or HostExecutor(),
            root=PurePosixPath(self.root),
            scratch=PurePosixPath(self.scratch),
            env=self.env,
            worker=3,
            log=log.append,
        )

    async def discover(self, group: Group = GROUP, **options: Any) -> Listing:
        """List a group."""
        listing = Listing()
        stream = self.framework(**options).discover(group, self.launch(listing.log))
        async with asyncio.timeout(BOUND_SECS), aclosing(cast("Any", stream)) as found:
            async for each in found:
                listing.found.append(each)
        return listing

    @contextlib.asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Live]:
        """A session; killed at the end if it still runs."""
        log: list[str] = []
        executor = Recorder()
        collection = Collection(groups=(GROUP,))
        session = await self.framework(**options).open(self.launch(log, executor), collection)
        try:
            yield Live(session, executor.started[-1], log)
        finally:
            await session.kill()

    async def run(self, tests: Sequence[Test], **options: Any) -> Ran:
        """Run tests in one session that is closed after the last."""
        async with self.open(**options) as live:
            await live.session.run(tests)
            if tests:
                waiting = {test.key for test in tests}

                def last(event: SessionEvent) -> bool:
                    if isinstance(event, TestFinished):
                        waiting.discard(event.key)
                    return not waiting or isinstance(event, Bye)

                await live.until(last)
            await live.session.close()
            return Ran(live, await live.rest(), tests)

    def plain(self, *arguments: str) -> tuple[dict[str, str], list[str]]:
        """What pytest alone makes of the suite: outcomes by id, and the order of collection."""
        recorder = self.scratch / "recorder"
        recorder.mkdir(parents=True, exist_ok=True)
        (recorder / "offload_recorder.py").write_text(_RECORDER)
        record = recorder / "record.json"
        env = {**os.environ, **self.env, "RECORD": str(record), "PYTHONPATH": str(recorder)}
        subprocess.run(
            [PYTHON, "-m", "pytest", "-p", "offload_recorder", "-o", f"cache_dir={recorder / 'cache'}", *arguments],
            cwd=self.root,
            env=env,
            capture_output=True,
            check=False,
        )
        order = json.loads(Path(f"{record}.order").read_text())
        seen = json.loads(record.read_text()) if record.exists() else {}
        return {test_id: _outcome(statuses) for test_id, statuses in seen.items()}, order


def _outcome(statuses: Sequence[str]) -> str:
    """One outcome of pytest's own categories, worst first."""
    if any("failed" in status and status != "xfailed" for status in statuses):
        return "failed"
    for status in ("error", "xfailed", "xpassed"):
        if status in statuses:
            return status
    return "passed" if "passed" in statuses else "skipped"


def many(tests: Sequence[Test], test_id: str) -> Test:
    """A test like the first, with an id that may not exist."""
    test = tests[0]
    return evolve(test, key=f"{test.group}:0:{test_id}", id=test_id, path=test_id.partition("::")[0])


def alive(pid: int) -> bool:
    """Does a process run? What is dead but not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
