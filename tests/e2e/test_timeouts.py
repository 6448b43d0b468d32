"""Tests that hang: killed in their sandbox, with all that they started, and the run goes on."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

# The child ignores what it can, and so does its own child, in a session of its own; both keep open what they inherited.
CHILD = """
    import os, pathlib, signal, time
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    pathlib.Path(f"child-{os.getpid()}").touch()
    while True:
        time.sleep(3600)
"""
SUITE = """
    import pathlib, signal, subprocess, sys
    import pytest

    @pytest.mark.parametrize("n", range(12))
    def test_it(n):
        if n == 5:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            subprocess.Popen([sys.executable, "child.py"])
            while True:
                signal.pause()
"""


@pytest.mark.parametrize(("sandboxes", "retries"), [(1, 0), (3, 1)])
def test_a_test_that_hangs_is_killed_with_its_children(project: Project, sandboxes: int, retries: int) -> None:
    """`timed_out`, after its retries; its neighbours pass; no child is alive while the run goes on, nor after it."""
    project.write({"child.py": CHILD, "test_a.py": SUITE})
    project.configure(sandboxes, offload="test_timeout_secs = 2", groups=f"[groups.all]\nretry_count = {retries}")
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 11, "timed_out": 1}
    assert ran.ids("timed_out") == {"test_a.py::test_it[5]"}
    (failure,) = ran.summary["failures"]
    assert failure["attempts"] == retries + 1
    assert "test_timeout_secs (2 s)" in failure["message"]
    assert ran.summary["incidents"] == []
    assert len(list(project.directory.glob("child-*"))) == 2 * (retries + 1)


def test_children_are_gone_when_the_next_test_runs(project: Project) -> None:
    """In the same sandbox: the next test sees none of the processes of the one that was killed."""
    look = """

    def test_z_look():
        import psutil
        children = [int(path.name.removeprefix("child-")) for path in pathlib.Path(".").glob("child-*")]
        assert len(children) == 2
        assert not any(psutil.pid_exists(child) for child in children)
    """
    project.write({"child.py": CHILD, "test_a.py": SUITE + look})
    project.configure(1, offload="test_timeout_secs = 2")
    ran = project.run()
    assert ran.counts == {"passed": 12, "timed_out": 1}
    assert ran.summary["sandboxes"]["created"] == 1


def test_a_hanging_fixture_and_teardown_are_bounded(project: Project) -> None:
    """A set-up that hangs is that test's; so is a teardown; the rest runs."""
    project.write(
        {
            "test_a.py": """
                import threading
                import pytest
                @pytest.fixture
                def hangs(): threading.Event().wait()
                @pytest.fixture
                def late():
                    yield
                    threading.Event().wait()
                def test_1(): pass
                def test_setup(hangs): pass
                def test_2(): pass
                def test_teardown(late): pass
                def test_3(): pass
            """
        }
    )
    project.configure(offload="test_timeout_secs = 2")
    ran = project.run()
    assert ran.code == 1
    assert ran.ids("timed_out") == {"test_a.py::test_setup", "test_a.py::test_teardown"}
    assert ran.counts == {"passed": 3, "timed_out": 2}


def test_a_retry_that_does_not_hang_makes_it_flaky(project: Project) -> None:
    """It hung once: flaky, exit code 2."""
    project.write(
        {
            "test_a.py": """
                import pathlib, threading
                def test_once():
                    mark = pathlib.Path("hung-once")
                    if not mark.exists():
                        mark.touch()
                        threading.Event().wait()
            """
        }
    )
    project.configure(offload="test_timeout_secs = 2", groups="[groups.all]\nretry_count = 1")
    ran = project.run()
    assert (ran.code, ran.counts) == (2, {"flaky": 1})


SPAM = """
    import os, pathlib
    def test_first(): pass
    def test_spam(capfd):
        pathlib.Path("reached").touch()
        with capfd.disabled():
            while True:
                os.write(2, b"spam spam\\n" * 6000)
    def test_later(): pass
"""


def test_a_test_that_never_stops_writing_times_out(project: Project) -> None:
    """Its output is endless and fast, and holds up neither the clock nor the other sandbox."""
    project.write({"test_a.py": SPAM})
    project.configure(offload="test_timeout_secs = 3")
    ran = project.run()
    assert (ran.code, ran.counts) == (1, {"passed": 2, "timed_out": 1})
    assert all(path.stat().st_size < 20_000_000 for path in (ran.results / "logs").iterdir())


def test_a_test_that_never_stops_writing_can_be_interrupted(project: Project) -> None:
    """Ctrl-C gets through."""
    project.write({"test_a.py": SPAM})
    project.configure(1)
    running = project.start()
    running.wait_until((project.directory / "reached").exists, "the test writes")
    running.interrupt()
    ran = running.finish()
    assert (ran.code, ran.counts) == (130, {"passed": 1, "not_run": 2})
