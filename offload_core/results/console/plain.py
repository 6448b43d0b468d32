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
    def _phase(self, name: str, text: str) -> None:
        self.notices.write([Line(text)])
        self._spoke = self._clock()

    @override
    def _after(self, event: Event) -> None:
        if self.accounting.decided > self._progress and self._clock() - self._progress_at >= PROGRESS_SECS:
            self._say_progress()

    @override
    def _on_tick(self) -> None:
        if self.accounting.decided > self._progress:
            if self._clock() - self._progress_at >= PROGRESS_SECS:
                self._say_progress()
        elif self._clock() - self._spoke >= SILENCE_SECS:
            self._spoke = self._clock()
            self.notices.write([Line(f"[waiting] {self.waiting_for()}")])

    @override
    def _on_close(self) -> None:
        if self.accounting.decided > self._progress:
            self._say_progress()

    def _say_progress(self) -> None:
        self._progress = self.accounting.decided
        self._progress_at = self._spoke = self._clock()
        self.notices.write([Line(progress_line(self))])


def progress_line(console: Console) -> str:
    """`[ci] P% | passed: a, failed: b, flaky: c, awaiting: d`, the line that scripts around Offload read."""
    accounting = console.accounting
    verdicts = accounting.verdicts()
    total, decided = len(accounting.records), accounting.decided
    failed = sum(number for state, number in verdicts.items() if state.bad)
    flaky = verdicts[State.FLAKY]
    return (
        f"[ci] {decided * 100 // total if total else 0}% | passed: {decided - failed - flaky}, failed: {failed}, "
        f"flaky: {flaky}, awaiting: {total - decided}"
    )
