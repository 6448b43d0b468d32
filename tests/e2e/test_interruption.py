"""Ctrl-C, SIGTERM and SIGKILL: what had finished is reported, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.e2e.project import Project, Running

HANGS = """
    import pathlib, subprocess, time
    import pytest

    def test_first():
        pass

    def test_hangs():
        subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; sleep 3600 & wait; sleep 3600"])
        pathlib.Path("reached").touch()
        while True:
            try:
                time.sleep(3600)
            except BaseException:
                pass

    @pytest.mark.parametrize("n", range(10))
    def test_later(n):
        pass
"""

DISCOVERY = """
    import os, pathlib, time
    def test_first(): pass
    if "OFFLOAD_SANDBOX" not in os.environ:
        pathlib.Path("reached").touch()
        time.sleep(3600)
"""

START = """
    import os, pathlib, time
    if "OFFLOAD_SANDBOX" in os.environ:
        pathlib.Path("reached").touch()
        time.sleep(3600)
"""

TEARDOWN = """
    import os, pathlib, time
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def late():
        yield
        pathlib.Path("reached").touch()
        time.sleep(3600)

    def test_first(): pass
    def test_second(): pass
"""

MOMENTS = {
    "discovery": {"test_a.py": DISCOVERY},
    "start": {"conftest.py": START, "test_a.py": HANGS},
    "tests": {"test_a.py": HANGS},
    "teardown": {"test_a.py": TEARDOWN},
}


def begin(project: Project, moment: str) -> Running:
    """A run that has come to this moment."""
    project.write(MOMENTS[moment])
    project.configure(1)
    running = project.start()
    running.wait_until((project.directory / "reached").exists, moment)
    if moment == "tests":
        running.wait_for("AttemptFinished")
        listing = project.temporary.glob
        running.wait_until(lambda: not [*listing("offload-discovery-*")], "all tests are listed")
    return running


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_signal_ends_the_run_at_any_moment(project: Project, moment: str, number: signal.Signals, code: int) -> None:
    """Exit code 128 and the signal, reports of what finished, no process and no temporary file of the run left."""
    running = begin(project, moment)
    running.interrupt(number)
    ran = running.finish()
    assert ran.code == code
    assert ran.summary["interrupted"] == number.name
    assert ran.summary["verdict"] == f"Interrupted by {number.name}."
    finished = {"discovery": set(), "start": set(), "tests": {"test_a.py::test_first"}}
    finished["teardown"] = {"test_a.py::test_first", "test_a.py::test_second"}
    assert ran.ids("passed") == finished[moment]
    assert set(ran.states.values()) <= {"passed", "not_run"}
    assert {each["reason"] for each in ran.summary["not_run"]} <= {"the run was interrupted"}
    assert "Interrupted" in ran.err


def test_only_offload_is_signalled(project: Project) -> None:
    """A CI system that sends SIGTERM to the one process it started gets the same end."""
    running = begin(project, "tests")
    os.kill(running.process.pid, signal.SIGTERM)
    ran = running.finish()
    assert ran.code == 143
    assert ran.ids("passed") == {"test_a.py::test_first"}


@pytest.mark.parametrize("moment", ["tests", "teardown"])
def test_a_second_and_a_third_signal_leave_nothing_either(project: Project, moment: str) -> None:
    """An impatient user presses Ctrl-C until it ends; the sandboxes are gone all the same."""
    running = begin(project, moment)
    for _ in range(2):
        running.interrupt()
    running.finish(clean=False)
    project.wait_until(lambda: not project.processes(), "no process")


def test_what_was_interrupted_can_be_continued(project: Project) -> None:
    """`--last-failed` runs what had not finished, and nothing else."""
    running = begin(project, "tests")
    running.interrupt()
    assert running.finish().code == 130
    project.write({"test_a.py": HANGS.replace("while True", "while False")})
    ran = project.run("--last-failed")
    assert ran.code == 0, ran.out
    assert ran.states == {
        "test_a.py::test_hangs": "passed",
        **{f"test_a.py::test_later[{n}]": "passed" for n in range(10)},
    }


def test_kill_9_leaves_no_process_and_a_journal_that_serves(project: Project) -> None:
    """Sandboxes end by themselves; `reap` finds nothing or cleans up; the next run knows what is left to do."""
    running = begin(project, "tests")
    run_id = project.events()[0]["run_id"]
    running.process.kill()
    running.process.wait()
    project.wait_until(lambda: not project.processes(), "no process")
    with (project.directory / "test-results/events.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"at":9.9,"event":"AttemptFin')  # as a machine that loses power may leave it
    reaped = project.run("--run", run_id, "--yes", command="reap")
    assert reaped.code == 0
    project.write({"test_a.py": HANGS.replace("while True", "while False")})
    ran = project.run("--last-failed")
    assert ran.code == 0, ran.out
    assert "test_a.py::test_first" not in ran.states
    assert len(ran.ids("passed")) == 11
    assert "cut short" in ran.err


@pytest.mark.parametrize("moment", ["discovery", "start", "teardown"])
def test_kill_9_at_other_moments_leaves_no_process(project: Project, moment: str) -> None:
    """What lists the tests on the host notices too that nobody listens any more."""
    running = begin(project, moment)
    running.process.kill()
    running.process.wait()
    project.wait_until(lambda: not project.processes(), "no process")


def test_what_kill_9_leaves_of_a_supervisor_is_reaped(project: Project) -> None:
    """Offload and the supervisor are killed at once: `reap` removes the processes and the directory."""
    running = begin(project, "tests")
    run_id = project.events()[0]["run_id"]
    (tree,) = project.sandbox_processes().values()
    for process in tree:
        if "OFFLOAD_SUPERVISOR" in process.environ():
            process.suspend()
    running.process.kill()
    running.process.wait()
    assert project.leftovers()
    reaped = project.run("--run", run_id, "--yes", "--json", command="reap")
    assert reaped.code == 0
    told = json.loads(reaped.out)
    assert (len(told["terminated"]), told["left"]) == (1, [])


def test_two_runs_in_one_directory_are_refused(project: Project) -> None:
    """The second says so and touches nothing; the first goes on."""
    running = begin(project, "tests")
    second = project.start()
    assert second.process.wait() == 4
    assert "another `offload run` is writing to" in second.err.read_text(encoding="utf-8")
    running.interrupt()
    assert running.finish().code == 130
