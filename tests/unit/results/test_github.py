"""What GitHub Actions is told: few annotations that nobody can forge, and a step summary that it does not refuse."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from offload_core.abc import Outcome
from offload_core.config.schema import ReportTable
from offload_core.events import DiscoveryFinished, Event, Incident, IncidentKind, RunFinished, TestNotRun
from offload_core.results.accounting import Accounting
from offload_core.results.console import ConsoleOptions
from offload_core.results.directory import OutputDirectory
from offload_core.results.github import MAX_ANNOTATIONS, annotations_of, command
from offload_core.results.reporter import Reporter
from offload_core.results.summary import summarize
from tests.support.synthetic import accounted, ended, found, run_of, stamped


def annotated(accounting: Accounting, base: Path = Path()) -> list[str]:
    """The annotations of a run."""
    return list(annotations_of(accounting, summarize(accounting, 1, reports={}), base))


def test_escaping() -> None:
    """A command is one line, whose parts end where they should, whatever is in them."""
    assert command("error", "50 %\r\n::error::x") == "::error::50 %25%0D%0A::error::x"
    assert command("error", "m", title="a,b:c\n%", line=3) == "::error title=a%2Cb%3Ac%0A%25,line=3::m"
    assert len(command("error", "x" * 100_000)) < 5_000


def test_they_are_ranked_and_few() -> None:
    """What concerns the whole run comes first, warnings come last; at most ten, and how many more there are."""
    names = [f"t{number:02}" for number in range(20)]
    events: list[Event] = [ended(name, Outcome.FAILED, text=f"no {name}") for name in names]
    whole = [DiscoveryFinished(group="unit", count=0, error="it does not start"), *events]
    accounting = accounted(*run_of(*map(found, names), *whole))
    lines = annotated(accounting, Path("sub"))
    assert len(lines) == MAX_ANNOTATIONS
    assert lines[0] == "::error title=Group unit could not be listed::it does not start"
    assert lines[1] == "::error file=sub/tests/test_a.py,line=7,title=FAILED tests/test_a.py%3A%3At00::no t00"
    assert lines[-1] == "::notice title=Offload::12 more are in the reports of the run"


def test_every_kind() -> None:
    """What was not run and why the run ended are errors; flaky tests and incidents are warnings."""
    accounting = accounted(
        *run_of(
            found("a", retries=1),
            found("b"),
            ended("a", Outcome.FAILED, text="once", again=True),
            ended("a", number=2),
            TestNotRun(test="unit/b", reason="no sandbox"),
            Incident(kind=IncidentKind.SANDBOX_DEAD, reason="gone", sandbox="s1"),
            exit_code=None,
        ),
        RunFinished(exit_code=3, reason="all ended"),
    )
    assert annotated(accounting) == [
        "::error title=The run ended early::all ended",
        "::error title=1 test not run::the first of them: tests/test_a.py::b (no sandbox)",
        "::warning title=FLAKY tests/test_a.py%3A%3Aa::once",
        "::warning title=Infrastructure::sandbox s1 died (gone)",
    ]
    assert annotated(accounted(*run_of(found("a"), ended("a")))) == []


class Step:
    """A run that was reported in a workflow step."""

    def __init__(self, path: Path, *events: Event, summary: str = "", on: str = "true") -> None:
        self.summary = path / "step.md"
        self.summary.write_text(summary, encoding="utf-8")
        stdout, stderr = io.StringIO(), io.StringIO()
        environ = {
            "GITHUB_ACTIONS": on,
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(path),
        }
        console = ConsoleOptions(stdout=stdout, stderr=stderr, environ=environ)
        with (
            OutputDirectory(path / "out") as directory,
            Reporter(directory, ReportTable(), console=console, project_dir=path / "sub") as reporter,
        ):
            for each in stamped(events):
                reporter.consumer(each)
            self.code = reporter.finish(1)
        self.lines = stdout.getvalue().splitlines()
        self.stderr = stderr.getvalue()
        self.page = (path / "out/summary.md").read_text(encoding="utf-8")

    @property
    def commands(self) -> list[str]:
        """The lines that GitHub acts on: commands are trimmed, and do nothing while they are stopped."""
        acted: list[str] = []
        token = ""
        for line in map(str.strip, self.lines):
            if token:
                token = "" if line == f"::{token}::" else token
            elif stop := re.fullmatch("::stop-commands::(.+)", line):
                token = stop[1]
            elif line.startswith("::") or "##[" in line:
                acted.append(line)
        assert not token, "commands stay stopped"
        return acted


FAILED: list[Event] = [
    found("a"),
    ended("a", Outcome.FAILED, text="no", output=[("out", "::error::forged\n##[error]forged")]),
]


def test_a_step(tmp_path: Path) -> None:
    """Annotations are printed, output cannot give commands, and the summary is appended, the same as `summary.md`."""
    step = Step(tmp_path, *run_of(*FAILED), summary="before\n")
    assert step.commands == ["::error file=sub/tests/test_a.py,line=7,title=FAILED tests/test_a.py%3A%3Aa::no"]
    assert any("::error::forged" in line for line in step.lines)
    assert step.summary.read_text(encoding="utf-8") == f"before\n{step.page}"
    assert len({Step(tmp_path, *run_of(*FAILED)).lines[0] for _ in range(2)}) == 2, "the token can be guessed"


def test_not_in_a_step(tmp_path: Path) -> None:
    """Elsewhere nothing of it is printed or appended; `summary.md` is there all the same."""
    step = Step(tmp_path, *run_of(*FAILED), on="")
    assert not [line for line in step.lines if line.startswith("::")]
    assert step.summary.read_text(encoding="utf-8") == ""
    assert "tests/test_a.py::a" in step.page


@pytest.mark.parametrize("there", [1 << 20, (1 << 20) - 3000, 600_000])
def test_a_step_summary_has_a_limit(tmp_path: Path, there: int) -> None:
    """What earlier commands of the step wrote counts, too: together it stays under 1 MiB."""
    names = [f"t{number:03}" for number in range(300)]
    failed = [ended(name, Outcome.FAILED, text=name * 2000) for name in names]
    step = Step(tmp_path, *run_of(*map(found, names), *failed), summary="x" * there)
    assert len(step.page) > 500_000
    size = step.summary.stat().st_size
    assert size <= max(there, (1 << 20) - 1)
    assert (size > there) == (there < 1 << 20)


def test_a_summary_that_cannot_be_written(tmp_path: Path) -> None:
    """That is said, and changes no exit code."""
    with (
        OutputDirectory(tmp_path / "out") as directory,
        Reporter(
            directory,
            ReportTable(),
            console=ConsoleOptions(
                stdout=io.StringIO(),
                stderr=(stderr := io.StringIO()),
                environ={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)},
            ),
        ) as reporter,
    ):
        for each in stamped(run_of(found("a"), ended("a"))):
            reporter.consumer(each)
        assert reporter.finish(0) == 0
    assert "step summary" in stderr.getvalue()


def test_a_run_that_breaks_gives_commands_back(tmp_path: Path) -> None:
    """Also if nobody asked for the end of the report."""
    stdout = io.StringIO()
    console = ConsoleOptions(stdout=stdout, stderr=io.StringIO(), environ={"GITHUB_ACTIONS": "true"})
    with OutputDirectory(tmp_path) as directory, Reporter(directory, ReportTable(), console=console):
        pass
    stopped, given_back = stdout.getvalue().splitlines()
    assert stopped == f"::stop-commands::{given_back.strip(':')}"
