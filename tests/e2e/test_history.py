"""The history, from one run to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.project import Project

SUITE = """
    import time
    import pytest
    from pathlib import Path
    def test_short(): pass
    def test_long(): time.sleep(0.4)
    def test_skipped(): pytest.skip("not here")
    def test_flaky():
        there = Path("there").exists(); Path("there").touch(); assert there
"""
RECORD = '[history]\nrecord_history = "always"\n'
IDS = [f"test_it.py::test_{name}" for name in ("flaky", "long", "short")]


def history(project: Project) -> dict[str, Any]:
    """The values of each test in the history."""
    lines = (project.directory / "offload-history.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert all(each["k"][0] == "offload.toml" for each in found)
    return {each["k"][1]: each["v"] for each in found}


def first_started(project: Project) -> str:
    """The key of the test that began first in the last run."""
    return str(next(event["test"] for event in project.events() if event["event"] == "TestBegan"))


def test_the_second_run_plans_by_the_first(project: Project) -> None:
    """Durations and outcomes are recorded; a run that knows nothing else begins with what took longest."""
    # with such a hook nothing starts before all is discovered: what begins first is then the scheduler's choice
    project.write({"test_it.py": SUITE, "conftest.py": "def pytest_collection_modifyitems(items): pass"})
    project.configure(1, groups="[groups.all]\nretry_count = 1", rest=RECORD)
    ran = project.run()
    assert ran.code == 2
    assert str(project.directory / "offload-history.jsonl") in ran.out
    assert ran.summary["reports"]["history"] == str(project.directory / "offload-history.jsonl")
    known = history(project)
    assert list(known) == IDS
    assert [(known[id]["n"], known[id]["f"], len(known[id]["ok"])) for id in IDS] == [(2, 1, 1), (1, 0, 1), (1, 0, 1)]
    assert known[IDS[1]]["ok"][0][2] >= 0.4
    assert not first_started(project).endswith("test_long")
    for path in (project.directory / "test-results").glob("events*.jsonl"):
        path.unlink()
    (project.directory / "test-results/junit.xml").unlink()
    assert project.run().code == 0
    assert first_started(project).endswith("test_long")
    assert [history(project)[id]["n"] for id in IDS] == [3, 2, 2]


def test_recording_is_asked_for(project: Project) -> None:
    """By the flag, which needs the table; without it nothing is written."""
    project.write({"test_it.py": "def test_a(): pass"})
    refused = project.run("--record-history")
    assert (refused.code, refused.has_reports) == (4, False)
    assert "--record-history needs a [history] table in the configuration" in refused.err
    project.configure(rest="[history]\n")
    assert project.run().code == 0
    assert not (project.directory / "offload-history.jsonl").exists()
    assert project.run("--record-history").code == 0
    assert list(history(project)) == ["test_it.py::test_a"]


def test_a_sandbox_that_dies_is_nobody_s_failure(project: Project) -> None:
    """The attempt that it ended is not recorded; the one that came after is."""
    project.write(
        {
            "test_it.py": """
                import os, time
                from pathlib import Path
                def test_waits():
                    Path("begun").touch()
                    while not Path("go").exists(): time.sleep(0.01)
            """
        }
    )
    project.configure(1, rest=RECORD)
    running = project.start()
    running.wait_until((project.directory / "begun").exists, "the test's start")
    for processes in project.sandbox_processes().values():
        for process in processes:
            process.kill()
    running.wait_for("Incident")
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.incidents("sandbox_dead"), ran.err
    assert ran.code == 0
    entry = history(project)["test_it.py::test_waits"]
    assert (entry["n"], entry["f"], entry["fail"]) == (1, 0, [])


@pytest.mark.parametrize("damage", ["<<<<<<< HEAD\n", '{"k":["offload.toml"\n'], ids=["conflict", "truncated"])
def test_a_damaged_history_stops_no_run(project: Project, damage: str) -> None:
    """It is said at once, tests run, nothing is lost; that the run could not be recorded is the exit code."""
    project.write({"test_it.py": "def test_a(): pass"})
    project.configure(rest=RECORD)
    path = project.directory / "offload-history.jsonl"
    path.write_text(damage, "utf-8")
    ran = project.run()
    assert ran.code == 3
    assert ran.counts == {"passed": 1}
    assert "estimates come from the rest" in ran.err
    assert "nothing was written to it" in ran.err
    assert path.read_text("utf-8") == damage
