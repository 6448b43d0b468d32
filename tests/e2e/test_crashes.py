"""Tests that end the process they run in: they are found, the others pass, and nobody else is blamed."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project
from tests.support.marks import nightly

DEADLY = """
    import ctypes, os, signal
    import pytest

    @pytest.mark.parametrize("n", range(40))
    def test_it(n):
        if n == 7:
            os._exit(0)
        if n == 18:
            ctypes.string_at(0)
        if n == 31:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("retries", "sandboxes"), [(2, 4), nightly(0, 1), nightly(0, 4), nightly(2, 1)])
def test_exactly_the_deadly_tests_are_blamed(project: Project, sandboxes: int, retries: int) -> None:
    """`os._exit(0)`, a segmentation fault and SIGKILL are `crashed`, without retries; their 37 neighbours pass."""
    project.write({"test_deadly.py": DEADLY})
    project.configure(sandboxes, groups=f"[groups.all]\nretry_count = {retries}")
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 37, "crashed": 3}
    assert ran.ids("crashed") == {f"test_deadly.py::test_it[{n}]" for n in (7, 18, 31)}
    assert "exit code 0" in ran.message("test_deadly.py::test_it[7]")
    assert "SIGSEGV" in ran.message("test_deadly.py::test_it[18]")
    assert "SIGKILL" in ran.message("test_deadly.py::test_it[31]")
    assert {each["attempts"] for each in ran.summary["failures"]} == {2}
    assert len(ran.incidents("session_crashed")) == 6


def test_a_crash_that_does_not_repeat_is_flaky(project: Project) -> None:
    """It crashed its process once and passed alone: `flaky`, exit code 2, or what --flaky-result says."""
    project.write(
        {
            "test_once.py": """
                import os, pathlib
                def test_before(): pass
                def test_once():
                    mark = pathlib.Path("crashed-once")
                    if not mark.exists():
                        mark.touch()
                        os._exit(9)
                def test_after(): pass
            """
        }
    )
    for arguments, code in (((), 2), (("--flaky-result", "pass"), 0), (("--flaky-result", "fail"), 1)):
        (project.directory / "crashed-once").unlink(missing_ok=True)
        ran = project.run(*arguments)
        assert ran.code == code
        assert ran.counts == {"passed": 2, "flaky": 1}


IMPORTS = """
    import os
    if "OFFLOAD_SANDBOX" in os.environ:
        {deed}
    def test_one(): pass
    def test_two(): pass
"""


@pytest.mark.parametrize(
    ("deed", "state", "words"),
    [
        ("raise RuntimeError('not here')", "error", "not here"),
        ("os._exit(3)", "crashed", "exit code 3"),
        nightly("__import__('sys').exit(3)", "error", "SystemExit: 3"),
        ("__import__('pytest').exit('enough')", "error", "enough"),
        ("__import__('pytest').skip('not for here', allow_module_level=True)", "skipped", "not for here"),
        nightly("__import__('time').sleep(3600)", "timed_out", "test_timeout_secs"),
    ],
)
def test_a_module_that_is_fine_on_the_host_only(project: Project, deed: str, state: str, words: str) -> None:
    """Its tests have a result of their own, of the right kind, and those of the other module pass."""
    project.write({"test_a.py": IMPORTS.format(deed=deed), "test_b.py": "def test_fine(): pass"})
    project.configure(offload="test_timeout_secs = 4")
    ran = project.run()
    assert ran.ids("passed") == {"test_b.py::test_fine"}
    assert ran.ids(state) == {"test_a.py::test_one", "test_a.py::test_two"}
    assert ran.code == (0 if state == "skipped" else 1)
    assert words in ran.message("test_a.py::test_one")


@pytest.mark.parametrize(
    "deed", [nightly("raise RuntimeError('not here')"), "os._exit(3)", nightly("__import__('pytest').exit('enough')")]
)
def test_a_conftest_that_fails_in_sandboxes_only(project: Project, deed: str) -> None:
    """No session starts: the run ends, the tests are not run or err, and it says why."""
    project.write({"conftest.py": IMPORTS.format(deed=deed), "test_a.py": "def test_a(): pass\ndef test_b(): pass"})
    ran = project.run()
    assert ran.code in (1, 3)
    assert set(ran.states.values()) <= {"error", "not_run"}
    assert len(ran.states) == 2
    told = ran.out + ran.err
    assert "does not start" in told or "not here" in told or "enough" in told


def test_pytest_exit_in_a_test_is_its_error(project: Project) -> None:
    """And so is Ctrl-C that a test raises; the rest runs."""
    project.write(
        {
            "test_a.py": """
                import pytest, sys
                def test_1(): pass
                def test_exit(): pytest.exit("enough")
                def test_2(): pass
                def test_interrupt(): raise KeyboardInterrupt
                def test_3(): pass
                def test_sys_exit(): sys.exit(4)
                def test_4(): pass
            """
        }
    )
    ran = project.run()
    assert ran.code == 1
    assert ran.ids("passed") == {f"test_a.py::test_{n}" for n in (1, 2, 3, 4)}
    assert ran.ids("error") == {"test_a.py::test_exit", "test_a.py::test_interrupt"}
    assert ran.ids("failed") == {"test_a.py::test_sys_exit"}


def test_a_test_that_kills_its_sandbox_is_convicted(project: Project) -> None:
    """It kills the supervisor, and twice more when alone: `crashed`; its neighbours pass, few sandboxes are spent."""
    project.write(
        {
            "test_a.py": """
                import os, signal
                import pytest, psutil
                @pytest.mark.parametrize("n", range(10))
                def test_it(n):
                    if n == 4:
                        mine = os.environ["OFFLOAD_SANDBOX"]
                        for process in psutil.Process().parents():
                            if process.environ().get("OFFLOAD_SANDBOX") == mine:
                                process.kill()
                        signal.pause()
            """
        }
    )
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 9, "crashed": 1}
    assert ran.ids("crashed") == {"test_a.py::test_it[4]"}
    assert len(ran.incidents("sandbox_dead")) == 3
    # one for each death, and the two that may be at work on the rest when all three have come before it
    assert ran.summary["sandboxes"]["created"] <= 3 + 2
