"""What the history knows, as a table for people or as JSON."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError, ReportError
from ..history import Entry, History, Sample, expected_secs
from ..results.sanitize import name_line, printable
from .saying import say_json

Shown = tuple[str, Entry]
"""A test's id and what is known of it."""

_WIDE = 10_000
"""Columns where nobody looks at a terminal: nothing is broken into lines."""


def entries_of(history: History, config: str, note: Callable[[str], None]) -> list[Shown]:
    """The entries of a configuration, sorted by id. `note` is told of each that is damaged."""
    found = []
    for key in sorted(history.lines):
        if key[0] == config:
            try:
                found.append((key[1], history.entry(key)))
            except ReportError as error:
                note(str(error))
    return found


def named(entries: Sequence[Shown], test: str) -> list[Shown]:
    """The entry of one test.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    found = [each for each in entries if each[0] == test]
    if not found:
        near = difflib.get_close_matches(test, [id for id, _ in entries], n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"the history knows no test {test!r}{hint}")
    return found


def slowest_first(entries: Iterable[Shown]) -> list[Shown]:
    """By the time that a test is expected to take."""
    return sorted(entries, key=lambda each: -(expected_secs(each[1]) or 0.0))


def flakiest_first(entries: Iterable[Shown]) -> list[Shown]:
    """Those that both pass and fail, by how often they do the rarer."""
    flaky = [each for each in entries if 0 < each[1].failures < each[1].attempts]
    return sorted(flaky, key=lambda each: (-min(rate := each[1].failure_rate, 1 - rate), -each[1].failures))


def say_entries(entries: Iterable[Shown]) -> None:
    """A list of JSON objects. Times in seconds, `at` in seconds since 1970."""
    say_json(
        [
            {
                "id": id,
                "expected_secs": expected_secs(entry),
                "attempts": entry.attempts,
                "failures": entry.failures,
                "failure_rate": round(entry.failure_rate, 6),
                "last_run": entry.last_run,
                "passed": _plain(entry.ok),
                "failed": _plain(entry.fail),
            }
            for id, entry in entries
        ]
    )


def print_table(entries: Sequence[Shown], color: bool | None) -> None:
    """A line a test."""
    table = Table("Test", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for title in ("Expected", "Attempts", "Failed", "Rate", "Newest"):
        table.add_column(title, justify="right", no_wrap=True)
    for id, entry in entries:
        newest = _time(entry.newest) if entry.newest else ""
        figures = (_secs(entry), str(entry.attempts), str(entry.failures), f"{entry.failure_rate:.1%}", newest)
        style = "yellow" if 0 < entry.failures < entry.attempts else "red" if entry.failures else ""
        table.add_row(Text(name_line(id)), *figures, style=style)
    _print([table, Text(f"{len(entries)} test{'s' * (len(entries) != 1)}")], color)


def print_test(id: str, entry: Entry, color: bool | None) -> None:
    """All that is known of a test: its figures, and every sample, the newest first."""
    table = Table("When (UTC)", "Outcome", "Seconds", "Run", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    samples = [(each, "passed", "green") for each in entry.ok] + [(each, "failed", "red") for each in entry.fail]
    for sample, outcome, style in sorted(samples, reverse=True):
        table.add_row(_time(sample.at), Text(outcome, style), f"{sample.secs:.3f}", Text(printable(sample.run)))
    counts = f"{entry.attempts} attempts, {entry.failures} failed ({entry.failure_rate:.1%}), {len(samples)} kept"
    expected = f"expected to take {_secs(entry)}; " if samples else ""
    _print([Text(name_line(id), "bold"), Text(expected + counts), table], color)


def _print(parts: Iterable[RenderableType], color: bool | None) -> None:
    terminal = sys.stdout.isatty()
    colored = terminal if color is None else color
    console = Console(highlight=False, force_terminal=colored, no_color=not colored, width=None if terminal else _WIDE)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    lines = capture.get().split("\n")
    click.echo("\n".join(line.rstrip() for line in lines), nl=False, color=colored)


def _secs(entry: Entry) -> str:
    secs = expected_secs(entry)
    return "" if secs is None else f"{secs:.3f} s"


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _plain(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    return [{"run": each.run, "at": each.at / 1000, "secs": each.secs} for each in samples]
