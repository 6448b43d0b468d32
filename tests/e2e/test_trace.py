"""`--trace`: a trace of a real run that keeps the format's rules, also of one in which things go wrong."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project, Ran
from tests.e2e.test_sandbox_death import is_supervisor, kill, start
from tests.support.trace_rules import check_trace


def traced_tests(ran: Ran) -> list[str]:
    """The names of the spans of tests, checked."""
    text = (ran.results / "trace.json").read_text(encoding="utf-8")
    return [event["name"] for event in check_trace(text) if event["cat"] == "test"]


def test_a_sandbox_killed_in_the_middle(project: Project) -> None:
    """Every attempt is there, the lost one as well, and the death is marked."""
    running, sandbox = start(project, 7, arguments=("--trace",))
    kill(filter(is_supervisor, project.sandbox_processes()[sandbox]))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.err
    assert f"{ran.results}/trace.json" in ran.out
    attempts = [event["test"] for event in project.events() if event["event"] == "TestBegan"]
    assert sorted(traced_tests(ran)) == sorted(ran.accounting.records[key].test.id for key in attempts)
    text = (ran.results / "trace.json").read_text(encoding="utf-8")
    assert [event["name"] for event in check_trace(text) if event["cat"] == "incident"] == ["sandbox_dead"]


@pytest.mark.parametrize("moment", ["a test runs", "at once"])
def test_an_interrupted_run(project: Project, moment: str) -> None:
    """Ctrl-C leaves a whole trace, too; a run without `--trace` leaves none."""
    project.write({"test_a.py": "import time\ndef test_a(): time.sleep(3600)"})
    running = project.start("--trace")
    running.wait_for("TestBegan" if moment == "a test runs" else "RunStarted")
    running.interrupt()
    ran = running.finish()
    assert ran.code == 130
    assert len(traced_tests(ran)) == (moment == "a test runs")
    project.write({"test_a.py": "def test_a(): pass"})
    assert project.run().code == 0
    assert not (ran.results / "trace.json").exists()
