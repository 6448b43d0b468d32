"""Which console a run gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from attrs import field, frozen

from ..accounting import Accounting
from .base import Console
from .plain import PlainConsole
from .printer import StreamPrinter


@frozen(kw_only=True)
class ConsoleOptions:
    """How the console was asked to be.

    Attributes:
        ci: plain lines, whatever the terminal.
        color: `auto`, `always` or `never`. With `auto`, a stream that is a terminal has colors unless NO_COLOR is set,
            and FORCE_COLOR gives them to any stream. Neither makes anything move.
    """

    ci: bool = False
    color: str = "auto"
    stdout: TextIO = field(factory=lambda: sys.stdout)
    stderr: TextIO = field(factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(factory=lambda: os.environ)

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw on, and nobody said not to."""
        env = self.environ
        return self.stderr.isatty() and not self.ci and env.get("CI") != "true" and env.get("TERM") != "dumb"

    def colored(self, stream: TextIO) -> bool:
        """Whether `stream` gets colors."""
        if self.color != "auto":
            return self.color == "always"
        if self.environ.get("NO_COLOR"):
            return False
        return bool(self.environ.get("FORCE_COLOR")) or (stream.isatty() and self.environ.get("TERM") != "dumb")


def open_console(accounting: Accounting, options: ConsoleOptions, full_text: str = "the reports") -> Console:
    """A `LiveConsole` where stderr is a terminal, else a `PlainConsole`; see `Console` for the parameters."""
    results = StreamPrinter(options.stdout, color=options.colored(options.stdout))
    if not options.live:
        notices = StreamPrinter(options.stderr, color=options.colored(options.stderr))
        return PlainConsole(accounting, results, notices, full_text=full_text, tick_secs=1.0)

    from rich.console import Console as RichConsole  # costs more than a run in CI should pay

    from .live import REFRESH_SECS, LiveConsole, LivePrinter

    color = options.colored(options.stderr)
    terminal = RichConsole(
        file=options.stderr, force_terminal=True, no_color=not color, highlight=False, markup=False, emoji=False
    )
    lines = LivePrinter(terminal)
    return LiveConsole(
        accounting,
        lines if options.stdout.isatty() else results,  # one terminal: results have to make room for the display
        lines,
        terminal=terminal,
        lines=lines,
        stdout=options.stdout,
        full_text=full_text,
        tick_secs=REFRESH_SECS,
    )
