"""The summary tells the whole run in plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offload_core.abc import Outcome
from offload_core.events import (
    DiscoveryFinished,
    Event,
    Incident,
    IncidentKind,
    Interrupted,
    SandboxEnd,
    TestNotRun,
    Warned,
)
from offload_core.results.summary import MEANINGS, rerun_command, summarize, summary_json
from tests.support.synthetic import accounted, ended, found, run_of, sandbox, started


def summary_of(*events: Event, exit_code: int = 0, **kwargs: Any) -> dict[str, Any]:
    """The summary of a run, as it is read from the file."""
    read = json.loads(summary_json(summarize(accounted(*run_of(*events)), exit_code, reports={}, **kwargs)))
    assert isinstance(read, dict)
    return read


def test_a_whole_run() -> None:
    """Counts, failures, flaky tests, what was not run and why, incidents by test id, the slowest, and what to do."""
    summary = summary_of(
        *[found(name) for name in ("good", "bad", "flaky", "never")],
        *sandbox("box-2"),
        ended("good"),
        ended("bad", Outcome.FAILED, text="assert \udc80"),
        ended("flaky", Outcome.ERROR, text="once", again=True),
        ended("flaky", number=2),
        Incident(
            kind=IncidentKind.SANDBOX_DEAD,
            reason="out of memory",
            sandbox="box-2",
            requeued=("unit/good",),
            suspects=("unit/bad",),
        ),
        *sandbox("box-2", SandboxEnd.DEAD),
        TestNotRun(test="unit/never", reason="no sandbox left"),
        Warned("look out"),
        exit_code=1,
    )
    assert summary["schema"] == 1
    assert (summary["run_id"], summary["argv"]) == ("run-1", ["offload", "run"])
    assert (summary["exit_code"], summary["meaning"]) == (1, MEANINGS[1])
    assert summary["total"] == 4
    assert {state: number for state, number in summary["counts"].items() if number} == {
        "passed": 1,
        "failed": 1,
        "flaky": 1,
        "not_run": 1,
    }
    (failure,) = summary["failures"]
    assert (failure["id"], failure["state"], failure["message"]) == ("tests/test_a.py::bad", "failed", "assert \udc80")
    assert [each["id"] for each in summary["flaky"]] == ["tests/test_a.py::flaky"]
    assert summary["flaky"][0]["message"] == "once"
    assert summary["not_run"] == [
        {"id": "tests/test_a.py::never", "group": "unit", "reason": "no sandbox left"},
    ]
    (incident,) = summary["incidents"]
    assert (incident["kind"], incident["sandbox"], incident["reason"]) == ("sandbox_dead", "box-2", "out of memory")
    assert (incident["requeued"], incident["suspects"]) == (["tests/test_a.py::good"], ["tests/test_a.py::bad"])
    assert summary["sandboxes"]["created"] == 2
    assert summary["sandboxes"]["dead"] == 1
    assert summary["warnings"] == ["look out"]
    assert len(summary["slowest"]) == 3
    assert summary["rerun"] == "offload run --last-failed"
    assert 0 < summary["discovery_seconds"] < summary["wall_seconds"]


@pytest.mark.parametrize(
    ("events", "exit_code", "said"),
    [
        ([found("a"), ended("a")], 0, "All tests passed!"),
        ([found("a"), ended("a", Outcome.FAILED)], 1, "Some tests failed."),
        ([found("a"), ended("a", Outcome.FAILED), ended("a", number=2)], 2, "1 only when run again"),
        ([found("a"), ended("a", Outcome.FAILED), ended("a", number=2)], 0, "All tests passed!"),
        ([found("a")], 3, "1 of 1 were not run"),
        ([], 5, "No tests were found."),
        ([found("a"), ended("a"), Interrupted(15)], 143, "Interrupted by SIGTERM."),
        ([DiscoveryFinished(group="e2e", count=0, error="x")], 3, "could not be listed for: e2e"),
    ],
)
def test_verdicts(events: list[Event], exit_code: int, said: str) -> None:
    """Each kind of end has its sentence."""
    assert said in summary_of(*events, exit_code=exit_code)["verdict"]


def test_reports_that_are_missing() -> None:
    """A good run whose report could not be written does not claim that all is well."""
    summary = summary_of(found("a"), ended("a"), exit_code=3, report_failures=["junit.xml could not be written"])
    assert "not every report" in summary["verdict"]
    assert summary["report_failures"] == ["junit.xml could not be written"]


def test_the_command_names_another_configuration() -> None:
    """The command to run again has `-c` only where the configuration is not the default one, quoted."""
    assert rerun_command(accounted(started())) == "offload run --last-failed"
    assert rerun_command(accounted(started("ci/my tests.toml"))) == "offload run --last-failed -c 'ci/my tests.toml'"


def test_a_run_that_was_cut() -> None:
    """A run of which only the beginning is known has a summary too; one of which nothing is, as well."""
    accounting = accounted(*run_of(found("a"), found("b"), ended("a"), exit_code=None))
    summary = summarize(accounting, 130, reports={})
    assert [each["id"] for each in summary["not_run"]] == ["tests/test_a.py::b"]
    assert summarize(accounted(), 1, reports={})["total"] == 0
