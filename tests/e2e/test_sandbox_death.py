"""Sandboxes that die from outside: that is never a test's failure, and everything is run all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import pytest

from tests.e2e.project import Project, Running

# The victim waits in a sandbox, with a child of its own, for what happens to that sandbox.
SUITE = """
    import os, pathlib, subprocess, time
    import pytest

    @pytest.mark.parametrize("n", range(24))
    def test_it(n):
        if n == {victim} and not pathlib.Path("go").exists():
            subprocess.Popen(["sleep", "3600"], start_new_session=True)
            pathlib.Path("victim.tmp").write_text(os.environ["OFFLOAD_SANDBOX"])
            pathlib.Path("victim.tmp").rename("victim")
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
"""


def start(project: Project, victim: int, *, parallel: int = 2, arguments: Sequence[str] = ()) -> tuple[Running, str]:
    """A run that has come to its victim, and the id of the sandbox that the victim runs in."""
    project.write({"test_a.py": SUITE.format(victim=victim)})
    project.configure(parallel)
    running = project.start(*arguments)
    told = project.directory / "victim"
    running.wait_until(told.exists, "the victim runs")
    return running, told.read_text(encoding="utf-8")


def is_supervisor(process: psutil.Process) -> bool:
    """Whether this process is the one that a local sandbox hangs on."""
    with contextlib.suppress(psutil.Error):
        return "OFFLOAD_SUPERVISOR" in process.environ()
    return False


def is_pytest(process: psutil.Process) -> bool:
    """Whether this is the process that runs the tests."""
    with contextlib.suppress(psutil.Error):
        return "offload_pytest_plugin" in process.cmdline()
    return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL for each that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


@pytest.mark.parametrize(
    "victim", [0, 11, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 2, 5, 8, 14, 17, 20, 23))]
)
def test_a_sandbox_that_is_killed_costs_no_test(project: Project, victim: int) -> None:
    """At any moment, in either order: exit code 0, one incident that names the victim, all 24 passed."""
    running, sandbox = start(project, victim)
    tree = project.sandbox_processes()[sandbox]
    tree.sort(key=is_supervisor, reverse=bool(victim % 2))
    kill(tree)
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.out
    assert ran.counts == {"passed": 24}
    (incident,) = ran.summary["incidents"]
    assert incident["kind"] == "sandbox_dead"
    assert incident["suspects"] == [f"test_a.py::test_it[{victim}]"]
    assert ran.summary["sandboxes"]["dead"] == 1
    attempts = {record.test.id: record.deciding for record in ran.accounting.records.values()}
    verdict = attempts[f"test_a.py::test_it[{victim}]"]
    assert verdict is not None
    assert verdict.sandbox != incident["sandbox"]
    assert "sandbox_dead" not in ran.out
    assert "Infrastructure (1 incident)" in ran.out


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_supervisor_that_is_killed_takes_its_sandbox_along(project: Project, parallel: int) -> None:
    """Nothing of the sandbox stays behind, not even what had left its session; all tests pass."""
    running, sandbox = start(project, 7, parallel=parallel)
    kill(filter(is_supervisor, project.sandbox_processes()[sandbox]))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.out
    assert ran.counts == {"passed": 24}
    assert [each["kind"] for each in ran.summary["incidents"]] == ["sandbox_dead"]


def test_a_test_process_that_is_killed_makes_its_test_flaky(project: Project) -> None:
    """The sandbox lives, so the test is a suspect; it passes alone: flaky, exit code 2."""
    running, sandbox = start(project, 7)
    kill(filter(is_pytest, project.sandbox_processes()[sandbox]))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 2, ran.out
    assert ran.counts == {"passed": 23, "flaky": 1}
    assert ran.ids("flaky") == {"test_a.py::test_it[7]"}
    assert [each["kind"] for each in ran.summary["incidents"]] == ["session_crashed"]
    assert ran.summary["sandboxes"]["dead"] == 0


def test_all_sandboxes_killed_at_once_are_replaced(project: Project) -> None:
    """With three of them, while tests run in all."""
    hold = """
        import pathlib, time
        import pytest
        @pytest.mark.parametrize("n", range(12))
        def test_it(n):
            pathlib.Path(f"at-{n}").touch()
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
    """
    project.write({"test_a.py": hold})
    project.configure(3, offload="hedge = false")
    running = project.start()
    running.wait_until(lambda: len(list(project.directory.glob("at-*"))) == 3, "a test in each sandbox")
    for processes in project.sandbox_processes().values():
        kill(filter(is_supervisor, processes))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.out
    assert ran.counts == {"passed": 12}
    assert len(ran.incidents("sandbox_dead")) == 3


def test_a_sandbox_that_dies_before_any_test_is_replaced(project: Project) -> None:
    """Its framework was starting; nobody is suspected."""
    project.write(
        {
            "conftest.py": """
                import os, pathlib, time
                first = pathlib.Path("first")
                if "OFFLOAD_SANDBOX" in os.environ:
                    try:
                        first.touch(exist_ok=False)
                    except FileExistsError:
                        pass
                    else:
                        pathlib.Path("victim.tmp").write_text(os.environ["OFFLOAD_SANDBOX"])
                        pathlib.Path("victim.tmp").rename("victim")
                        time.sleep(3600)
            """,
            "test_a.py": "def test_a(): pass\ndef test_b(): pass",
        }
    )
    project.configure(1)
    running = project.start()
    told = project.directory / "victim"
    running.wait_until(told.exists, "a session starts")
    kill(filter(is_supervisor, project.sandbox_processes()[told.read_text(encoding="utf-8")]))
    ran = running.finish()
    assert ran.code == 0, ran.out
    assert ran.counts == {"passed": 2}
    (incident,) = ran.summary["incidents"]
    assert (incident["kind"], incident["suspects"]) == ("sandbox_dead", [])


def test_sandboxes_that_all_die_at_once_end_the_run(project: Project) -> None:
    """The breaker: a conftest that kills every sandbox ends with a reason and exit code 3, and not never."""
    project.write(
        {
            "conftest.py": """
                import os, psutil
                if mine := os.environ.get("OFFLOAD_SANDBOX"):
                    for process in psutil.Process().parents():
                        if process.environ().get("OFFLOAD_SANDBOX") == mine:
                            process.kill()
            """,
            "test_a.py": "def test_a(): pass\ndef test_b(): pass",
        }
    )
    ran = project.run()
    assert ran.code == 3
    assert ran.counts == {"not_run": 2}
    assert len(ran.incidents("breaker")) == 1
    assert "sandboxes in a row ended before any test" in ran.out
    assert ran.summary["sandboxes"]["created"] <= 7


def test_a_lifetime_that_is_over_is_a_death(project: Project) -> None:
    """What ran there is run elsewhere; a test longer than the lifetime is convicted and does not run for ever."""
    project.write(
        {
            "test_a.py": """
                import threading
                def test_a(): pass
                def test_endless(): threading.Event().wait()
                def test_b(): pass
            """
        }
    )
    project.configure(offload="sandbox_lifetime_secs = 4")
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 2, "crashed": 1}
    assert "lifetime" in ran.message("test_a.py::test_endless")


def test_a_working_directory_that_is_not_there(project: Project) -> None:
    """No sandbox can be created: exit code 3 and the reason; no test is said to have failed."""
    project.write({"test_a.py": "def test_a(): pass"})
    project.configure(provider='working_dir = "nowhere"')
    ran = project.run()
    assert ran.code == 3
    assert ran.counts == {"not_run": 1}
    assert f"there is no directory {Path(project.directory, 'nowhere')}" in ran.out


def test_processes_that_left_everything_are_gone_too(project: Project) -> None:
    """A daemon of a test: own session, no open pipes, no parent. It ends with its sandbox."""
    project.write(
        {
            "test_a.py": """
                import os, pathlib, subprocess, sys
                def test_daemon():
                    code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.closerange(0, 99)"
                    code += "; time.sleep(3600)"
                    subprocess.run([sys.executable, "-c", code], check=True)
            """
        }
    )
    ran = project.run()
    assert ran.code == 0
