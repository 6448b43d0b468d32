"""What `offload conformance` says: a line for each check, and for one that failed what the contract asks."""

from __future__ import annotations

import textwrap
from collections.abc import Generator
from typing import Any

import click
import pytest

from ._subject import Subject


class Checklist:
    """A plugin for pytest that hands the subject to the checks, and says on stdout how each ended."""

    def __init__(self, subject: Subject, *, verbose: bool) -> None:
        self._subject = subject
        self._verbose = verbose
        self._counts = {"passed": 0, "failed": 0, "skipped": 0}

    @pytest.fixture(name="subject")
    def _the_subject(self) -> Subject:
        return self._subject

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        """Say it when it is known."""
        report: pytest.TestReport = (yield).get_result()
        if report.when == "call" or not report.passed:
            self._counts[report.outcome] += 1
            reason = str(call.excinfo.value) if call.excinfo else ""
            if call.excinfo and report.failed and not isinstance(call.excinfo.value, AssertionError):
                reason = f"{call.excinfo.type.__name__}: {reason}"
            self._say(item, report, reason)

    def _say(self, item: Any, report: pytest.TestReport, reason: str) -> None:
        word, color = {"passed": ("ok", "green"), "skipped": ("skipped", "yellow"), "failed": ("FAILED", "red")}[
            report.outcome
        ]
        click.echo(f"{click.style(f'{word:<8}', fg=color)}{item.name.removeprefix('test_')}", nl=False)
        click.echo(f": {reason}" if reason else "")
        if report.failed:
            click.echo(textwrap.indent(f"The check: {(item.function.__doc__ or '').strip()}", " " * 8))
            if self._verbose:
                click.echo(textwrap.indent(report.longreprtext, " " * 8))

    def say_end(self) -> None:
        """Say how many there were of each kind."""
        counts = self._counts
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        click.echo(f"\n{counts['passed']} of {sum(counts.values())} checks passed, {counts['failed']} failed{skipped}.")
        if counts["failed"] and not self._verbose:
            click.echo("With --verbose each failure has its traceback; -k NAME runs one check.")
