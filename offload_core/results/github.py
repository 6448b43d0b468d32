"""What GitHub Actions shows of a run: annotations and a step summary, in its workflow commands and environment files.

Workflow commands are lines on standard output, so a test could give some by printing them. Therefore commands are
stopped while results are printed, by a token that no sandbox knows.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..abc import State
from ..errors import ReportError, os_error_as
from ..kit import cut
from ..ledger import Record
from .accounting import Accounting
from .console import Line, Printer
from .markdown import MAX_BYTES, message_of, ranked
from .sanitize import name_line, one_line
from .words import count, incident, words

MAX_ANNOTATIONS = 10
"""GitHub shows no more of one step."""

MAX_TEXT = 4_000
"""Characters of one annotation."""

STEP_SUMMARY_BYTES = (1 << 20) - 1024
"""A step summary that is larger than 1 MiB is refused as a whole."""


class GitHubActions:
    """The workflow step that a run is in.

    Args:
        project_dir: the project's root on this host, for the names of files.
        output: standard output.
    """

    def __init__(self, environ: Mapping[str, str], project_dir: Path, output: Printer) -> None:
        self._environ = environ
        self._project_dir = project_dir
        self._output = output
        self._token = ""

    def begin(self) -> None:
        """From now on, what is printed is no command."""
        self._token = secrets.token_hex(16)
        self._output.write([Line(f"::stop-commands::{self._token}")])

    def end(self) -> None:
        """Commands are commands again. Idempotent."""
        if self._token:
            self._output.write([Line(f"::{self._token}::")])
            self._token = ""

    def annotate(self, accounting: Accounting, summary: Mapping[str, Any]) -> None:
        """Print at most `MAX_ANNOTATIONS` annotations; ends what `begin` began."""
        self.end()
        self._output.write(map(Line, annotations_of(accounting, summary, self._base())))

    def summarize(self, make: Callable[[int], Iterable[str]]) -> None:
        """Append to the step's summary. `make` gets the room there is, in bytes.

        Raises:
            ReportError: it could not be written.
        """
        name = self._environ.get("GITHUB_STEP_SUMMARY")
        if not name:
            return
        path = Path(name)
        with os_error_as(ReportError, f"the step summary {path} could not be written"):
            there = path.stat().st_size if path.exists() else 0
            room = min(MAX_BYTES, STEP_SUMMARY_BYTES - there)
            if room > 0:
                with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
                    out.writelines(make(room))

    def _base(self) -> Path:
        """The project's root relative to the checkout, which the names of files in annotations begin at."""
        workspace = self._environ.get("GITHUB_WORKSPACE")
        if not workspace:
            return Path()
        relative = Path(os.path.relpath(self._project_dir.resolve(), Path(workspace).resolve()))
        return Path() if ".." in relative.parts else relative


def annotations_of(accounting: Accounting, summary: Mapping[str, Any], base: Path = Path()) -> Iterator[str]:
    """The workflow commands for what went wrong, the most telling first; the last one says how many are left out.

    Args:
        summary: what `offload_core.results.summary.summarize` returns for this accounting.
        base: comes before the names of files.
    """
    lines = [*_of_the_run(summary), *(_of_a_test(record, base) for record in ranked(accounting)), *_warnings(summary)]
    shown = lines if len(lines) <= MAX_ANNOTATIONS else lines[: MAX_ANNOTATIONS - 1]
    yield from shown
    if left := len(lines) - len(shown):
        yield command("notice", f"{left} more are in the reports of the run", title="Offload")


def command(kind: str, message: str, **properties: object) -> str:
    """A workflow command: what stands on a line of its own."""
    given = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in properties.items() if value)
    return f"::{kind}{' ' if given else ''}{given}::{_escaped(cut(message, MAX_TEXT))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in f"%\r\n{more}" else char for char in text)


def _of_the_run(summary: Mapping[str, Any]) -> Iterator[str]:
    for group, error in summary["discovery_errors"].items():
        yield command("error", one_line(error, MAX_TEXT), title=f"Group {name_line(group)} could not be listed")
    if summary["reason"]:
        yield command("error", one_line(summary["reason"], MAX_TEXT), title="The run ended early")
    if not_run := summary["not_run"]:
        reason = one_line(not_run[0]["reason"])
        first = f"the first of them: {name_line(not_run[0]['id'])} ({reason})"
        yield command("error", first, title=f"{count(len(not_run), 'test')} not run")


def _of_a_test(record: Record, base: Path) -> str:
    return command(
        "error",
        message_of(record) or words(record.state),
        file=name_line(str(base / record.test.file)) if record.test.file else "",
        line=record.test.line if record.test.file else None,
        title=f"{words(record.state).upper()} {name_line(record.test.id, 200)}",
    )


def _warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    for each in summary["flaky"]:
        title = f"{State.FLAKY.value.upper()} {name_line(each['id'], 200)}"
        said = one_line(each["message"]) or "it failed, then passed"
        yield command("warning", said, title=title)
    for each in summary["incidents"]:
        yield command("warning", incident(each), title="Infrastructure")
