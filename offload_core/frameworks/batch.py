"""The base of frameworks whose tool runs a batch of tests in a process of its own, and ends.

A framework says how one batch is run; the session around it looks like any other. A tool that streams tells of each
test when it begins and ends; for one that writes a report at its end, every test of the batch runs until then. When a
tool crashes, what was running is suspected: if that is more than one test, the core runs halves of them, until the
culprit is alone.
"""

from __future__ import annotations

import asyncio
import shlex
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import PurePosixPath
from typing import Any, ClassVar

from attrs import evolve
from typing_extensions import override

from ..abc import (
    Bye,
    Collection,
    Exit,
    Framework,
    Health,
    Hello,
    Launch,
    Outcome,
    Section,
    SessionEvent,
    Test,
    TestFinished,
    TestSession,
    TestStarted,
    Upload,
)
from ..abc._framework import OptionsT
from ..errors import DiscoveryError, FrameworkUnusable, ProviderError
from ..kit import cut
from .tool import Needed, Tool, ToolCrashed, checked, version

__all__ = ["Batch", "BatchFramework", "ToolCrashed"]

MAX_TEXT = 1 << 20
"""Of a longer text only head and tail are kept, in characters."""


class Batch:
    """Tests that one process runs. Ids in it are unique.

    Attributes:
        launch: where.
        directory: of this batch alone, in the sandbox; it is made by the first upload.
        left: tests by id that have not finished, in order.
    """

    def __init__(
        self, launch: Launch, number: int, tests: Sequence[Test], emit: Callable[[SessionEvent], None]
    ) -> None:
        self.launch = launch
        self.directory = launch.scratch / "batches" / f"{launch.name}.{number}"
        self.left = {test.id: test for test in tests}
        self._emit = emit
        self._begun: set[str] = set()
        self.tool: Tool | None = None

    async def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Tool:
        """Start the batch's tool; see `Tool.start`. One at a time; it is killed with the session."""
        self.tool = await Tool.start(self.launch, argv, env=env)
        return self.tool

    async def upload(self, name: str, data: bytes) -> PurePosixPath:
        """Write a file, such as the ids, into the batch's directory; returns its path in the sandbox.

        Raises:
            ProviderError: as `Executor.upload`.
        """
        path = self.directory / name
        await self.launch.executor.upload([Upload(data, path)])
        return path

    def began(self, *ids: str) -> None:
        """These tests run now. Ids that are not left are ignored."""
        for id in ids:
            if id in self.left and id not in self._begun:
                self._begun.add(id)
                self._emit(TestStarted(self.left[id].key))

    def finished(
        self,
        id: str,
        outcome: Outcome,
        duration: float,
        *,
        message: str = "",
        details: str = "",
        output: Sequence[Section] = (),
        properties: Sequence[tuple[str, str]] = (),
    ) -> None:
        """A test has ended; `duration` in seconds. An id that is not left is ignored."""
        test = self.left.pop(id, None)
        if test is None:
            return
        self._emit(
            TestFinished(
                key=test.key,
                outcome=outcome,
                duration=max(duration, 0.0),
                message=" ".join(cut(message, MAX_TEXT).split()),
                details=cut(details, MAX_TEXT),
                output=tuple(evolve(section, text=cut(section.text, MAX_TEXT)) for section in output if section.text),
                properties=tuple(properties),
            )
        )

    def unreported(self, message: str, details: str = "", *, ids: Iterable[str] | None = None) -> None:
        """The tool came to its end without these, or all that are left: they are errors, and `message` says why."""
        for id in tuple(self.left if ids is None else ids):
            self.finished(id, Outcome.ERROR, 0.0, message=message, details=details)


class BatchFramework(Framework[OptionsT]):
    """A framework whose tool runs one batch of tests per process."""

    contract = 2
    start_secs: ClassVar[float] = 1.0
    needed: ClassVar[Needed | None] = None
    """The oldest version of the tool that will do, for `check`; None if any will."""
    max_id_chars: int = 0
    """How long the ids of a batch may be together, in bytes as a shell takes them. With 0, as long as they are."""

    @abstractmethod
    def version_command(self) -> Sequence[str]:
        """A cheap command that prints the tool's version: run once per session, and by `offload doctor`."""

    @abstractmethod
    async def run_batch(self, batch: Batch) -> None:
        """Run the tests of a batch, and tell the batch what becomes of them. Cancelled, it leaves nothing running.

        What has not finished when it returns is an error of that test: "no result". A tool whose end is no proof
        that it did its work raises instead.

        Raises:
            ToolCrashed: it ended before its work; the core finds out by which test.
            FrameworkUnusable: it cannot be started as it is configured; no test has begun.
            ProviderError: as `Tool`: nothing is held against a test.
        """

    @override
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        """Start a session; its first command tells the tool's version."""
        return BatchSession(self, launch)

    @override
    async def check(self, launch: Launch) -> Health:
        return await checked(launch, self.version_command(), self.needed)


class BatchSession(TestSession, AsyncIterator[SessionEvent]):
    """One batch after the other, each in a process of its own. It is the iterator of its own events."""

    def __init__(self, framework: BatchFramework[Any], launch: Launch) -> None:
        self._framework = framework
        self._launch = launch
        self._waiting: deque[Test] = deque()
        self._woken = asyncio.Event()
        self._closing = False
        self._batch: Batch | None = None
        self._broken: ProviderError | FrameworkUnusable | None = None
        self._reason = ""
        self._told: asyncio.Queue[SessionEvent | None] = asyncio.Queue()
        self.events = self
        self._task = asyncio.create_task(self._work(), name=f"batches of {launch.name}")

    @override
    async def __anext__(self) -> SessionEvent:
        event = await self._told.get()
        if event is None:
            self._told.put_nowait(None)  # for whoever asks again
            raise StopAsyncIteration
        return event

    @property
    def _tool(self) -> Tool | None:
        return self._batch.tool if self._batch is not None else None

    @override
    async def run(self, tests: Sequence[Test]) -> None:
        self._waiting.extend(tests)
        self._woken.set()

    @override
    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back tests whose batch has not begun."""
        keys = {test.key for test in tests}
        back = [test for test in self._waiting if test.key in keys]
        self._waiting = deque(test for test in self._waiting if test.key not in keys)
        return back

    @override
    async def close(self) -> None:
        self._closing = True
        self._woken.set()

    @override
    async def kill(self) -> None:
        self._closing = True
        try:
            if self._tool is not None:
                await self._tool.kill()
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})

    @override
    def abandon(self) -> None:
        if self._tool is not None:
            self._tool.abandon()
        self._task.cancel()

    @override
    async def wait(self) -> Exit:
        """How its last process ended; the reason says what is missing, and the last of its output."""
        await asyncio.wait({self._task})
        if self._broken is not None:
            raise self._broken
        if not self._task.cancelled() and (defect := self._task.exception()) is not None:
            raise FrameworkUnusable(f"a defect of the framework: {defect!r}") from defect
        return evolve(self._tool.ended if self._tool is not None else Exit(), reason=self._reason)

    async def _work(self) -> None:
        try:
            try:
                said = await version(self._launch, self._framework.version_command())
            except DiscoveryError as error:
                self._reason = str(error)
                return
            self._told.put_nowait(Hello(versions=said))
            for number in count(1):
                while not self._waiting and not self._closing:
                    self._woken.clear()
                    await self._woken.wait()
                if self._closing:
                    break
                batch = self._batch = Batch(self._launch, number, self._next(), self._told.put_nowait)
                await self._framework.run_batch(batch)
                said = batch.tool.tail() if batch.tool else ""
                batch.unreported("it was run, but no result of it was reported", said)
            self._told.put_nowait(Bye())
        except ToolCrashed as error:
            self._reason = str(error)
        except (ProviderError, FrameworkUnusable) as error:
            self._broken = error
        finally:
            self._told.put_nowait(None)

    def _next(self) -> list[Test]:
        """The tests of the next batch, taken from the queue: no id twice, and no more than fit."""
        chosen: dict[str, Test] = {}
        kept: deque[Test] = deque()
        most, size = self._framework.max_id_chars, 0
        for test in self._waiting:
            length = len(shlex.quote(test.id).encode(errors="surrogatepass")) + 1
            fits = not chosen or not most or size + length <= most
            if test.id in chosen or not fits or (test.individual and chosen):
                kept.append(test)
                continue
            chosen[test.id] = test
            size += length
        self._waiting = kept
        return list(chosen.values())
