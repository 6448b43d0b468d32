"""The reports of a run, made again from its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from .accounting import Accounting, ExitCode, exit_code
from .directory import JOURNAL, LOGS, SUMMARY, SUMMARY_MARKDOWN, TRACE
from .html import html_report
from .journal import read_journal
from .junit import junit_xml
from .last_run import accounting_of
from .markdown import summary_markdown
from .summary import summarize, summary_json
from .trace import trace_json


@frozen
class Rebuilt:
    """What a journal tells.

    Attributes:
        journal: its path.
        accounting: what it adds up to.
        names: the file of each report, by the report's name in `FORMATS`.
    """

    journal: Path
    accounting: Accounting
    names: Mapping[str, str]

    @classmethod
    def of(cls, journal: Path, names: Mapping[str, str], notes: list[str]) -> Rebuilt:
        """Read a journal. `names` may give reports other names than the usual; `notes` gets what was skipped.

        Raises:
            ReportError: as `read_journal`.
        """
        usual = {name: format.file for name, format in FORMATS.items()}
        return cls(journal, accounting_of(journal, notes), {**usual, **names})

    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds; its reports are those that stand beside the journal now."""
        directory = self.journal.parent
        names = self.names
        kinds = {"journal": JOURNAL, "junit": names["junit"], "trace": names["trace"], "logs": LOGS, **names}
        reports = {kind: str(directory / name) for kind, name in kinds.items() if (directory / name).exists()}
        reports["summary"] = str(directory / SUMMARY)
        return summarize(self.accounting, self.exit_code, reports=reports)

    @property
    def exit_code(self) -> int:
        """What the run exited with; for one that never came to its end, what it would have at least.

        That a report could not be written, which is exit code 3, comes after the journal's end and is not known here.
        """
        accounting = self.accounting
        if accounting.finished is not None:
            return accounting.finished.exit_code
        if accounting.interrupted is not None:
            return 128 + accounting.interrupted.signal
        code = exit_code(accounting)
        return code if code is ExitCode.TESTS_FAILED else ExitCode.INFRASTRUCTURE


@frozen
class Format:
    """One kind of report: the file that it usually is, and how it is made, in pieces."""

    file: str
    make: Callable[[Rebuilt], Iterable[str]]


FORMATS: Mapping[str, Format] = {
    "junit": Format("junit.xml", lambda run: junit_xml(run.accounting)),
    "trace": Format(TRACE, lambda run: trace_json(read_journal(run.journal))),
    "html": Format("report.html", lambda run: html_report(read_journal(run.journal), run.summary())),
    "markdown": Format(SUMMARY_MARKDOWN, lambda run: summary_markdown(run.accounting, run.summary())),
    "summary": Format(SUMMARY, lambda run: [summary_json(run.summary())]),
}
"""By the option that asks for it, in the order in which a run writes them: the summary tells of the others."""
