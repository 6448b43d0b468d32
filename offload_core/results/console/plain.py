"""The console for CI and pipes: plain lines, nothing that moves."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from ...abc import State
from ...events import Event
from .base import Console
from .printer import Line

PROGRESS_SECS = 1.0
"""At least this long between two lines of progress."""
SILENCE_SECS = 30.0
"""After this long without a line, it says what the run waits for."""


class PlainConsole(Console):
    """Says how far the run is at most once a second, and what it waits for after 30 s of silence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress_at = float("-inf")
        self._progress = 0
        self._spoke = self._clock()

    @override
    def notice(self, kind: str, text: str, style: str = "") -> None:
        super().notice(kind, text, style)
        self._spoke = self._clock()

    @override
    def _phase(self, text: str) -> None:
        self.notices.write([Line(text)])
        self._spoke = self._clock()

    @override
    def _handle(self, event: Event, at: float) -> None:
        super()._handle(event, at)
        self._say_progress(PROGRESS_SECS)

    @override
    def _on_tick(self) -> None:
        self._say_progress(PROGRESS_SECS)
        if self._clock() - self._spoke >= SILENCE_SECS:
            self._spoke = self._clock()
            self.notices.write([Line(f"[waiting] {self.waiting_for()}")])

    @override
    def _on_close(self) -> None:
        self._say_progress(0)

    def _say_progress(self, pause: float) -> None:
        """The line that scripts around Offload read, if there is progress, and the last is so many seconds ago."""
        decided, now = self.accounting.decided, self._clock()
        if decided <= self._progress or now - self._progress_at < pause:
            return
        self._progress = decided
        self._progress_at = self._spoke = now
        verdicts, total = self.accounting.verdicts(), len(self.accounting.records)
        failed, flaky = self.accounting.failed, verdicts[State.FLAKY]
        line = (
            f"[ci] {decided * 100 // total}% | passed: {decided - failed - flaky}, failed: {failed}, "
            f"flaky: {flaky}, awaiting: {total - decided}"
        )
        self.notices.write([Line(line)])
