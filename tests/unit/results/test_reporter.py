"""The reporter: all that a run leaves behind, through one door."""

from __future__ import annotations

import io
import json
from pathlib import Path

from offload_core.abc import Outcome
from offload_core.config.schema import ReportTable
from offload_core.events import Event, LogLine, Warned
from offload_core.kit import read_junit
from offload_core.results.console import ConsoleOptions
from offload_core.results.directory import OutputDirectory
from offload_core.results.journal import read_journal
from offload_core.results.reporter import Reporter
from offload_core.results.sanitize import Redact
from tests.support.synthetic import ended, found, run_of, stamped


class Ran:
    """A run that was reported, and what it printed."""

    def __init__(
        self,
        path: Path,
        *events: Event,
        exit_code: int = 0,
        table: ReportTable | None = None,
        redact: Redact | None = None,
        trace: bool = False,
    ) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        console = ConsoleOptions(stdout=self.stdout, stderr=self.stderr, environ={})
        with (
            OutputDirectory(path) as directory,
            Reporter(directory, table or ReportTable(), console=console, redact=redact, trace=trace) as reporter,
        ):
            for each in stamped(events):
                reporter.consumer(each)
            self.exit_code = reporter.finish(exit_code)
            self.failures = reporter.failures

    @property
    def printed(self) -> str:
        """Everything on both streams."""
        return self.stdout.getvalue() + self.stderr.getvalue()


LOG = LogLine(sandbox="box-1", session="s1", line="starting")


def test_everything_is_written(tmp_path: Path) -> None:
    """A run leaves journal, JUnit report, summaries and logs, and says where they are."""
    ran = Ran(tmp_path, *run_of(found("a"), LOG, ended("a")))
    assert (ran.exit_code, ran.failures) == (0, [])
    assert len(list(read_journal(tmp_path / "events.jsonl"))) == len(run_of(found("a"), ended("a")))
    assert [case.name for case in read_junit((tmp_path / "junit.xml").read_bytes())] == ["tests/test_a.py::a"]
    reports = json.loads((tmp_path / "summary.json").read_text())["reports"]
    assert reports.keys() == {"journal", "junit", "logs", "markdown", "summary"}
    assert "starting" in (tmp_path / "logs/box-1.s1.log").read_text()
    for path in reports.values():
        assert Path(path).exists()
        assert path in ran.stdout.getvalue()


def test_the_report_table(tmp_path: Path) -> None:
    """`junit = false` writes none; `junit_file` names it."""
    Ran(tmp_path, *run_of(found("a"), ended("a")), table=ReportTable(junit=False))
    assert not (tmp_path / "junit.xml").exists()
    Ran(tmp_path, *run_of(found("a"), ended("a")), table=ReportTable(junit_file="sub/tests.xml"))
    assert (tmp_path / "sub/tests.xml").exists()


def test_a_run_that_was_cut_has_reports(tmp_path: Path) -> None:
    """Without a last event, reports say what is known and what is not."""
    ran = Ran(tmp_path, *run_of(found("a"), found("b"), ended("a"), exit_code=None), exit_code=130)
    assert ran.exit_code == 130
    assert len(list(read_junit((tmp_path / "junit.xml").read_bytes()))) == 2
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["exit_code"], summary["counts"]["not_run"]) == (130, 1)
    assert "tests/test_a.py::b" in ran.stdout.getvalue()


def test_a_killed_run_leaves_no_old_report(tmp_path: Path) -> None:
    """A run that never gets to its end leaves no JUnit report of the run before to be taken for its own."""
    Ran(tmp_path, *run_of(found("a"), ended("a")))
    with OutputDirectory(tmp_path) as directory:
        console = ConsoleOptions(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
        with Reporter(directory, ReportTable(), console=console):
            pass
    assert not (tmp_path / "junit.xml").exists()
    assert not (tmp_path / "summary.json").exists()


def test_secrets_are_nowhere(tmp_path: Path) -> None:
    """A secret that tests print is in no file and on no stream."""
    secret = "s3cr3t-value"
    ran = Ran(
        tmp_path,
        *run_of(
            found(f"a[{secret}]"),
            found("b", retries=1),
            LogLine(sandbox="box-1", session="s1", line=f"export TOKEN={secret}"),
            Warned(f"{secret} is weak"),
            ended(f"a[{secret}]", Outcome.FAILED, text=f"no {secret}", output=[("Captured stdout call", secret)]),
            ended("b", Outcome.FAILED, text=secret, again=True),
            ended("b", number=2),
        ),
        exit_code=1,
        redact=lambda text: text.replace(secret, "***"),
    )
    assert "***" in ran.printed
    assert secret not in ran.printed
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 5
    for path in written:
        assert secret.encode() not in path.read_bytes()


def test_a_report_that_cannot_be_written_is_exit_code_3(tmp_path: Path) -> None:
    """It is one warning, exit code 3 if nothing failed, and the other reports are there."""
    (tmp_path / "junit.xml").mkdir()
    ran = Ran(tmp_path, *run_of(found("a"), ended("a")), exit_code=0)
    assert ran.exit_code == 3
    assert ran.stderr.getvalue().count("junit.xml could not be written") == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["exit_code"] == 3
    assert "junit" not in summary["reports"]
    assert "not every report could be written" in ran.stdout.getvalue()
    failed = Ran(tmp_path, *run_of(found("a"), ended("a", Outcome.FAILED)), exit_code=1)
    assert failed.exit_code == 1


def test_logs_that_cannot_be_written_are_said_once(tmp_path: Path) -> None:
    """While the run goes on, and the run goes on."""
    (tmp_path / "logs").write_text("")
    ran = Ran(tmp_path, *run_of(found("a"), LOG, LOG, ended("a")), exit_code=0)
    assert ran.exit_code == 3
    assert ran.stderr.getvalue().count("could not be written") == 1
    assert [case.name for case in read_junit((tmp_path / "junit.xml").read_bytes())] == ["tests/test_a.py::a"]


def test_files_that_were_renamed_are_said(tmp_path: Path) -> None:
    """What stood in the way is warned of, in the journal too, whose first line stays the first."""
    (tmp_path / "summary.json").write_text("mine")
    ran = Ran(tmp_path, *run_of(found("a"), ended("a")))
    assert "summary.json.kept" in ran.stderr.getvalue()
    events = [each.event for each in read_journal(tmp_path / "events.jsonl")]
    assert isinstance(events[1], Warned)


def test_the_users_own_files_survive(tmp_path: Path) -> None:
    """A page and a trace that Offload did not write are renamed and that is said; its own are written anew."""
    for name in ("summary.md", "trace.json", "junit.xml"):
        (tmp_path / name).write_text("mine")
    ran = Ran(tmp_path, *run_of(found("a"), ended("a")), trace=True)
    assert ran.stderr.getvalue().count(".kept now") == 2
    again = Ran(tmp_path, *run_of(found("a"), ended("a")), trace=True)
    assert ".kept" not in again.printed
    kept = {path.name: path.read_text() for path in tmp_path.glob("*.kept*")}
    assert kept == {"summary.md.kept": "mine", "trace.json.kept": "mine"}
    assert "mine" not in {(tmp_path / name).read_text() for name in ("summary.md", "trace.json", "junit.xml")}
