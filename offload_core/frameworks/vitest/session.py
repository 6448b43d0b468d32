"""A warm Vitest in a sandbox. It speaks the protocol of `warm`."""

from __future__ import annotations

import json
from collections import deque
from pathlib import PurePosixPath

from typing_extensions import override

from ...abc import Launch, ModuleStarted, Outcome, Process, SessionEvent, TestFinished, TestStarted
from ...errors import ProviderError
from ..tool import ToolCrashed, read_file
from ..warm import WarmSession


class VitestSession(WarmSession):
    """See `TestSession`.

    Test processes note what they begin and end in a file, because whatever kills them may kill the reporter, too:
    after such an end, what it had not told is read from there.
    """

    def __init__(self, process: Process, marker: str, launch: Launch, directory: PurePosixPath) -> None:
        super().__init__(process, marker, launch.log)
        self._launch = launch
        self._began = directory / "began.jsonl"
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self._untold: deque[SessionEvent] | None = None
        self._killed = False

    @override
    async def kill(self) -> None:
        self._killed = True
        await super().kill()

    @override
    async def __anext__(self) -> SessionEvent:
        if self._untold is None:
            try:
                return self._noted(await super().__anext__())
            except StopAsyncIteration:
                self._untold = deque() if self._complete or self._killed else await self._read()
        if not self._untold:
            raise StopAsyncIteration
        return self._untold.popleft()

    def _noted(self, event: SessionEvent) -> SessionEvent:
        match event:
            case TestStarted(key=key):
                self._started.add(key)
                self._finished.discard(key)  # it runs again
            case TestFinished(key=key):
                self._finished.add(key)
        return event

    async def _read(self) -> deque[SessionEvent]:
        """What had begun or ended and was not told, from the file."""
        events: deque[SessionEvent] = deque()
        try:
            noted = await read_file(self._launch, self._began) or b""
        except (ProviderError, ToolCrashed) as error:
            self._log(f"{self._began} could not be read: {error}")
            return events
        for line in noted.split(b"\n"):
            try:
                event = self._typed(*json.loads(line))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue  # also the line that it was at
            if event is not None:
                events.append(self._noted(event))
        return events

    def _typed(
        self, kind: str, what: str, outcome: str = "", message: str = "", ms: float = 0.0
    ) -> SessionEvent | None:
        match kind:
            case "m":
                file = PurePosixPath(what.partition("\0")[2])
                return ModuleStarted(str(file.relative_to(self._launch.root)))
            case "t" if what not in self._started:
                return TestStarted(what)
            case "e" if what not in self._finished:
                return TestFinished(key=what, outcome=Outcome(outcome), duration=float(ms) / 1000, message=message)
            case _:
                return None
