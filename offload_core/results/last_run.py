"""What the run before tells the next one: what failed, how long tests take, how many sandboxes it needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from ..abc import Outcome
from ..errors import ReportError
from ..kit import NotJUnit, read_junit
from .accounting import Accounting
from .directory import JOURNAL, PREVIOUS_JOURNAL
from .journal import read_journal

NO_GROUP = ""
"""Stands for "whatever group it is in" where a report does not tell."""


@frozen(kw_only=True)
class LastRun:
    """Knowledge of earlier runs.

    Attributes:
        failed: (group, id) of each test without a good verdict: failed, or not run.
        durations: seconds by test id.
        sandboxes: the most that were alive at once, or None when no journal tells.
        notes: what could not be read, in words.
    """

    failed: tuple[tuple[str, str], ...] = ()
    durations: Mapping[str, float] = field(factory=dict)
    sandboxes: int | None = None
    notes: tuple[str, ...] = ()

    def failed_in(self, group: str) -> tuple[str, ...]:
        """The ids to run again in a group."""
        return tuple(id for where, id in self.failed if where in (group, NO_GROUP))


def accounting_of(journal: Path, notes: list[str] | None = None) -> Accounting:
    """The accounting that a journal adds up to; `notes` gets what was skipped.

    Raises:
        ReportError: as `read_journal`; or it tells of a test that it never listed.
    """
    accounting = Accounting()
    for stamped in read_journal(journal, notes.append if notes is not None else lambda text: None):
        try:
            accounting.apply(stamped.event, stamped.at)
        except KeyError as error:
            raise ReportError(
                f"{journal} is damaged: it tells of the test {error}, and the line that lists it is missing. Restore "
                "the file, or remove it"
            ) from None
    return accounting


def last_failed(accounting: Accounting) -> dict[tuple[str, str], bool]:
    """For each test of a run, by group and id, whether it is left without a good verdict."""
    left: dict[tuple[str, str], bool] = {}
    for record in accounting.records.values():
        name = (record.test.group, record.test.id)
        left[name] = left.get(name, False) or record.state.bad or not record.decided
    return left


def durations(accounting: Accounting) -> dict[str, float]:
    """Seconds by test id; the longest where an id stands for several tests."""
    seconds: dict[str, float] = {}
    for record in accounting.records.values():
        if (attempt := record.deciding) and attempt.outcome is not Outcome.CRASHED:
            seconds[record.test.id] = max(attempt.duration, seconds.get(record.test.id, 0.0))
    return seconds


def read_last_run(directory: Path, junit_file: str = "junit.xml") -> LastRun:
    """What an output directory tells, before a new run begins in it. Never raises; `notes` has what went wrong.

    The newest verdict of each test counts. The run before the last adds what the last one did not get to: durations
    always, failures if the last run did not come to its end. Without a journal, the JUnit report serves.
    """
    notes: list[str] = []
    runs: list[Accounting] = []
    for name in (JOURNAL, PREVIOUS_JOURNAL):
        if (directory / name).exists():
            try:
                runs.append(accounting_of(directory / name, notes))
            except ReportError as error:
                notes.append(str(error))
    runs = [run for run in runs if run.records]
    if not runs:
        return _from_junit(directory / junit_file, notes)
    left: dict[tuple[str, str], bool] = {}
    seconds: dict[str, float] = {}
    for run in reversed(runs):
        seconds |= durations(run)
        left |= last_failed(run)
    if runs[0].finished is not None and runs[0].interrupted is None:
        left = last_failed(runs[0])
    return LastRun(
        failed=tuple(name for name, bad in left.items() if bad),
        durations=seconds,
        sandboxes=runs[0].sandboxes_peak or None,
        notes=tuple(notes),
    )


def _from_junit(path: Path, notes: list[str]) -> LastRun:
    seconds: dict[str, float] = {}
    failed: dict[str, None] = {}
    try:
        for case in read_junit(path.read_bytes()) if path.exists() else ():
            if case.seconds is not None:
                seconds[case.name] = max(case.seconds, seconds.get(case.name, 0.0))
            if case.outcome.bad:
                failed[case.name] = None
    except OSError as error:
        notes.append(f"{path} could not be read: {error.strerror or error}")
    except NotJUnit as error:
        notes.append(f"{path} cannot be read: {error}")
    return LastRun(failed=tuple((NO_GROUP, name) for name in failed), durations=seconds, notes=tuple(notes))
