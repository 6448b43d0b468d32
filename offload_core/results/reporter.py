"""Everything that a run leaves behind for people and for the next run, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..config.schema import ReportTable
from ..errors import ReportError
from ..events import Consumer, RunStarted, Stamped, Warned
from .accounting import Accounting, ExitCode
from .console import ConsoleOptions, open_console
from .directory import JOURNAL, LOGS, SUMMARY, SUMMARY_MARKDOWN, TRACE, OutputDirectory
from .github import GitHubActions
from .html import html_report
from .journal import JournalWriter, read_journal
from .junit import junit_xml
from .logs import SandboxLogs
from .markdown import summary_markdown
from .sanitize import Redact, redacting
from .summary import summarize, summary_json
from .trace import trace_json


class Reporter:
    """Journal, logs, console, and at the end JUnit report and summary. A context manager that restores the terminal.

    Nothing that cannot be written ends a run: it becomes one of `failures`, and `finish` makes an exit code of them.

    Args:
        directory: held by this run; what it tells of the last run is to be read before this, because this rotates it.
        options: the `[report]` table.
        trace: write `trace.json`, too.
        show_cost: print what the sandboxes cost.
        project_dir: the project's root on this host.
        redact: applied to every string of every event before anything else sees it; None if there are no secrets.

    Raises:
        ConfigError: the directory cannot be written.
    """

    def __init__(
        self,
        directory: OutputDirectory,
        options: ReportTable,
        *,
        console: ConsoleOptions | None = None,
        redact: Redact | None = None,
        trace: bool = False,
        show_cost: bool = False,
        project_dir: Path = Path(),
    ) -> None:
        self.accounting = Accounting()
        self.failures: list[ReportError] = []
        self.consumer: Consumer = redacting(self._consume, redact)
        """What the bus is to call with each event."""
        self._notes = directory.begin()
        self._directory = directory
        self._options = options
        self._trace = trace
        self._show_cost = show_cost
        self._journal = self._open_journal()
        self._logs = SandboxLogs(directory.claim, self.failures)
        full_text = str(directory.path / (options.junit_file if options.junit else JOURNAL))
        console = console or ConsoleOptions()
        self._console = open_console(self.accounting, console, full_text)
        self._github: GitHubActions | None = None
        if console.environ.get("GITHUB_ACTIONS") == "true":
            self._github = GitHubActions(console.environ, project_dir, self._console.results)
            self._github.begin()
        self._told = 0
        self._written: dict[str, str] = {}

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        self._console.close()
        self._close_files()
        if self._github is not None:
            self._github.end()

    def finish(self, exit_code: int, also: Mapping[str, Callable[[], Path | None]] | None = None) -> int:
        """Write the reports and print the end, also of a run that was cut short. Returns what the process exits with.

        That is `exit_code`, or 3 if nothing failed but a report could not be written.

        Args:
            also: what else is written, by kind. Each tells where, None for nowhere, or raises a `ReportError`.
        """
        self._console.close()
        self._close_files()
        self._write_all(exit_code, also or {})
        self._tell_failures()
        for note in self._directory.notes:
            self._warn(note)
        summary = self._summary(exit_code)
        if self._show_cost and summary["cost"] is None:
            self._console.notice("cost", "--show-estimated-cost: the provider states no price", "warn")
        self._console.finish(summary if self._show_cost else {**summary, "cost": None})
        if self._github is not None:
            self._github.annotate(self.accounting, summary)
        return self._final(exit_code)

    def _write_all(self, exit_code: int, also: Mapping[str, Callable[[], Path | None]]) -> None:
        journal = self._directory.path / JOURNAL
        if journal.exists():
            self._written["journal"] = str(journal)
        if self._options.junit:
            self._write("junit", self._options.junit_file, lambda: junit_xml(self.accounting))
        if self._trace:
            self._write("trace", TRACE, lambda: trace_json(read_journal(journal)))
        if self._logs.written:
            self._written["logs"] = str(self._directory.path / LOGS)
        for kind, write in also.items():
            try:
                if (path := write()) is not None:
                    self._written[kind] = str(path)
            except ReportError as error:
                self.failures.append(error)
        if self._options.html:
            told = self._summary(exit_code)
            self._write("html", self._options.html_file, lambda: html_report(read_journal(journal), told))
        page = self._summary(exit_code)
        self._write("markdown", SUMMARY_MARKDOWN, lambda: summary_markdown(self.accounting, page))
        if self._github is not None:
            try:
                self._github.summarize(lambda room: summary_markdown(self.accounting, page, room))
            except ReportError as error:
                self._console.notice("github", f"warning: {error}", "warn")
        self._written["summary"] = str(self._directory.path / SUMMARY)  # it lists itself
        self._write("summary", SUMMARY, lambda: [summary_json(self._summary(exit_code))])

    def _consume(self, stamped: Stamped) -> None:
        self.accounting.apply(stamped.event, stamped.at)
        if self._journal is not None:
            self._journal(stamped)
        self._logs(stamped)
        self._console(stamped)
        if len(self.failures) > self._told:
            self._tell_failures()
        if self._notes and isinstance(stamped.event, RunStarted):  # which has to be the journal's first line
            notes, self._notes = self._notes, []
            for note in notes:
                self._consume(Stamped(stamped.at, Warned(note)))

    def _open_journal(self) -> JournalWriter | None:
        try:
            return JournalWriter(self._directory.claim(JOURNAL), self.failures)
        except ReportError as error:
            self.failures.append(error)
            return None

    def _close_files(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._logs.close()

    def _write(self, kind: str, name: str, make: Callable[[], Iterable[str]]) -> None:
        try:
            self._written[kind] = str(self._directory.write(name, make()))
        except ReportError as error:
            self._written.pop(kind, None)
            self.failures.append(error)

    def _tell_failures(self) -> None:
        for failure in self.failures[self._told :]:
            self._warn(failure)
        self._told = len(self.failures)

    def _warn(self, problem: object) -> None:
        self._console.notice("report", f"warning: {problem}", "warn")

    def _summary(self, exit_code: int) -> dict[str, Any]:
        return summarize(
            self.accounting,
            self._final(exit_code),
            reports=self._written,
            report_failures=[str(failure) for failure in self.failures],
        )

    def _final(self, exit_code: int) -> int:
        if self.failures and exit_code in (ExitCode.OK, ExitCode.FLAKY):
            return ExitCode.INFRASTRUCTURE
        return exit_code
