"""A warm Vitest in a sandbox. It speaks the protocol of the warm pytest process."""

from __future__ import annotations

import json
from collections import deque
from pathlib import PurePosixPath

from ...abc import ModuleStarted, Place, Process, SessionEvent, TestStarted
from ...errors import ProviderError
from ..pytest.session import PytestSession
from ..tool import Tool


class VitestSession(PytestSession):
    """See `TestSession`.

    Test processes note what they begin in a file, because whatever kills them may kill the reporter, too: after such
    an end, what it had not told is read from there.
    """

    def __init__(self, process: Process, marker: str, place: Place, directory: PurePosixPath) -> None:
        super().__init__(process, marker, place.log)
        self._place = place
        self._began = directory / "began.jsonl"
        self._told: set[str] = set()
        self._untold: deque[SessionEvent] | None = None
        self._killed = False

    async def kill(self) -> None:
        """End it at once, with every process it started."""
        self._killed = True
        await super().kill()

    async def _next(self) -> SessionEvent:
        if self._untold is None:
            try:
                event = await super()._next()
            except StopAsyncIteration:
                self._untold = deque() if self._complete or self._killed else deque(await self._read())
            else:
                if isinstance(event, TestStarted):
                    self._told.add(event.key)
                return event
        if not self._untold:
            raise StopAsyncIteration
        return self._untold.popleft()

    async def _read(self) -> list[SessionEvent]:
        """What had begun and was not told, from the file."""
        events: list[SessionEvent] = []
        try:
            async with await Tool.start(self._place, ("cat", "--", str(self._began))) as tool:
                lines = [line async for line in tool.lines()]
        except ProviderError as error:
            self._log(f"{self._began} could not be read: {error}")
            return events
        for line in lines:
            try:
                kind, what = json.loads(line)
                match kind:
                    case "t" if str(what) not in self._told:
                        events.append(TestStarted(str(what)))
                    case "m":
                        file = PurePosixPath(what.partition("\0")[2])
                        events.append(ModuleStarted(str(file.relative_to(self._place.root))))
            except (ValueError, TypeError):
                continue
        return events
