"""The console for a terminal: a display that follows the run below the lines that stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console as RichConsole, Group
from rich.live import Live
from rich.text import Text
from typing_extensions import override

from ...abc import State
from ...events import SandboxEnd
from ..sanitize import name_line
from ..words import duration
from .base import Console
from .printer import Line, Printer

REFRESH_SECS = 0.2
MAX_RUNNING = 10
"""Running tests shown at most."""

_RICH_STYLES = {"bad": "bold red", "warn": "yellow", "good": "green", "strong": "bold", "dim": "dim", "": ""}


class LivePrinter(Printer):
    """Lines above the display. They are kept until `flush`, so that many cost one redraw."""

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._kept = Text()

    @override
    def write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._kept.append(f"{line.text}\n", _RICH_STYLES[line.style] or None)

    def flush(self) -> None:
        """Print what was kept."""
        if self._kept:
            kept, self._kept = self._kept, Text()
            self._console.print(kept, end="", soft_wrap=True)


class LiveConsole(Console):
    """Counts, the tests that run longest and the sandboxes, redrawn five times a second.

    Args:
        terminal: stderr, where the display is.
        lines: what is printed above the display; `results` or `notices` of the base may be it.
    """

    def __init__(self, *args: Any, terminal: RichConsole, lines: LivePrinter, stdout: TextIO, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._terminal = terminal
        self._lines = lines
        self._live = Live(console=terminal, auto_refresh=False, transient=True, redirect_stdout=stdout.isatty())

    @override
    def _on_tick(self) -> None:
        with suppress(OSError):  # a terminal that has gone away ends no run
            self._draw()

    @override
    def _on_close(self) -> None:
        with suppress(OSError):
            self._live.stop()
            self._lines.flush()

    def _draw(self) -> None:
        display = Group(*self._display())
        if not self._live.is_started:
            self._live.update(display)
            self._live.start()
        self._lines.flush()
        self._live.update(display, refresh=True)

    def _display(self) -> Iterator[Text]:
        width = self._terminal.width - 1
        yield self._progress(width)
        yield self._counts(width)
        yield self._sandboxes(width)
        rows = max(0, min(MAX_RUNNING, self._terminal.height - 5))
        for at, test in islice(self.running.values(), rows):
            elapsed = f"  {duration(self.now - at):>7}  "
            place = f"  {name_line(test.sandbox, 40)}" if width >= 80 else ""
            id = shortened(self.name_of(test), width - len(elapsed) - cell_len(place))
            yield _line(width, (elapsed, "cyan"), (id, ""), (place, "dim"))
        if (more := len(self.running) - rows) > 0:
            yield _line(width, (f"           and {more} more running", "dim"))

    def _progress(self, width: int) -> Text:
        accounting = self.accounting
        total, decided = len(accounting.records), accounting.decided
        open_end = "+" if any(phase.startswith("discovering") for phase in self.phases) else ""
        share = decided / total if total else 0.0
        right = f"  {decided:,} of {total:,}{open_end}  {duration(self.now)}"
        room = max(0, min(60, width - len(right) - 7))
        full, empty = ("#", "-") if self._terminal.options.ascii_only else ("━", "─")
        done = int(room * share)
        bar = (full * done, "green"), (empty * (room - done), "dim")
        return _line(width, (f"{int(share * 100):4}%  ", "bold"), *bar, (right, ""))

    def _counts(self, width: int) -> Text:
        accounting = self.accounting
        verdicts = accounting.verdicts()
        waiting = len(accounting.records) - accounting.decided
        parts = [
            ("passed", verdicts[State.PASSED] + verdicts[State.XPASSED], "green"),
            ("failed", accounting.failed, "bold red"),
            ("retrying", waiting - accounting.counts()[State.NOT_RUN], "yellow"),
            ("flaky", verdicts[State.FLAKY], "yellow"),
            ("skipped", verdicts[State.SKIPPED] + verdicts[State.XFAILED], "dim"),
        ]
        shown = [(f"  {number:,} {word}", style) for word, number, style in parts if number or word == "passed"]
        return _line(width, *shown)

    def _sandboxes(self, width: int) -> Text:
        accounting = self.accounting
        ended = accounting.sandboxes_ended
        parts = [
            ("alive", len(accounting.sandboxes_alive), ""),
            ("starting", len(accounting.sandboxes_starting), "cyan"),
            ("dead", ended[SandboxEnd.DEAD], "yellow"),
            ("lost", ended[SandboxEnd.LOST], "yellow"),
            ("not created", ended[SandboxEnd.NOT_CREATED], "yellow"),
        ]
        words = [(f"{number:,} {word}", style) for word, number, style in parts if number or word == "alive"]
        spaced = [part for word in words for part in ((", ", ""), word)][1:]
        phases = "".join(f"; {phase}" for phase in self.phases)
        return _line(width, ("  sandboxes: ", ""), *spaced, (phases, "cyan"))


def _line(width: int, *parts: tuple[str, str]) -> Text:
    text = Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
    text.truncate(width, overflow="ellipsis")
    return text


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` cells; the end stays, because ids differ there."""
    if cell_len(name) <= width:
        return name
    kept = name[-max(1, width - 1) :]
    while kept and cell_len(kept) > width - 1:
        kept = kept[1:]
    return f"…{kept}"
