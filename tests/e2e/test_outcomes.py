"""Every kind of result, and the exit code that it makes."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

KINDS = """
    import warnings
    import pytest

    def test_passes(): pass
    def test_fails(): assert 1 == 2, "of course"
    @pytest.mark.skip(reason="not today")
    def test_skipped(): pass
    @pytest.mark.xfail(reason="known")
    def test_xfailed(): assert False
    @pytest.mark.xfail
    def test_xpassed(): pass
    @pytest.fixture
    def broken(): raise OSError("no database")
    def test_setup(broken): pass
    @pytest.fixture
    def late():
        yield
        raise OSError("no cleaning")
    def test_teardown(late): pass
    @pytest.fixture(scope="module")
    def shared():
        yield
        raise OSError("no cleaning up of what is shared")
    def test_last(shared): pass
"""


def test_every_kind_of_result(project: Project) -> None:
    """States, messages, and exit code 1; the output names each failure once.

    In one sandbox: where a module is split, what its tests share is torn down after the last of each part.
    """
    project.configure(1)
    project.write({"test_a.py": KINDS, "test_b.py": "def test_after(): pass"})
    ran = project.run()
    assert ran.code == 1
    assert ran.states == {
        "test_a.py::test_passes": "passed",
        "test_a.py::test_fails": "failed",
        "test_a.py::test_skipped": "skipped",
        "test_a.py::test_xfailed": "xfailed",
        "test_a.py::test_xpassed": "xpassed",
        "test_a.py::test_setup": "error",
        "test_a.py::test_teardown": "error",
        "test_a.py::test_last": "error",
        "test_b.py::test_after": "passed",
    }
    assert ran.message("test_a.py::test_skipped") == "not today"
    assert "no cleaning up of what is shared" in ran.message("test_a.py::test_last")
    assert ran.out.count("FAILED test_a.py::test_fails") == 1
    assert "offload run --last-failed" in ran.out
    again = project.run("--last-failed")
    assert set(again.states) == {f"test_a.py::test_{name}" for name in ("fails", "setup", "teardown", "last")}


def test_good_results_are_a_success(project: Project) -> None:
    """Passed, skipped, expected failures and unexpected passes: exit code 0 and nothing to run again."""
    project.write(
        {
            "test_a.py": """
                import pytest
                def test_passes(): pass
                def test_skips(): pytest.skip("no")
                def test_xfails(): pytest.xfail("known")
            """
        }
    )
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 1, "skipped": 1, "xfailed": 1})
    assert ran.summary["rerun"] is None
    assert "All tests passed!" in ran.out
    again = project.run("--last-failed")
    assert again.code == 0
    assert "left nothing to run again" in again.out


FLAKY = """
    import pathlib
    import pytest
    @pytest.mark.parametrize("fails", [0, 1, 2, 9])
    def test_it(fails):
        before = len(list(pathlib.Path(".").glob(f"tried-{fails}-*")))
        pathlib.Path(f"tried-{fails}-{before}").touch()
        assert before >= fails
"""


@pytest.mark.parametrize("sandboxes", [1, 3])
def test_retries(project: Project, sandboxes: int) -> None:
    """As many attempts as needed, at most 1 + retry_count; all attempts are in the report."""
    project.write({"test_a.py": FLAKY})
    project.configure(sandboxes, groups="[groups.all]\nretry_count = 2")
    ran = project.run()
    assert ran.code == 1
    assert ran.states == {
        "test_a.py::test_it[0]": "passed",
        "test_a.py::test_it[1]": "flaky",
        "test_a.py::test_it[2]": "flaky",
        "test_a.py::test_it[9]": "failed",
    }
    attempts = {record.test.id: len(record.attempts) for record in ran.accounting.records.values()}
    assert list(attempts.values()) == [1, 2, 3, 3]
    assert len(list(project.directory.glob("tried-*"))) == 9


def test_modules_that_are_results_themselves(project: Project) -> None:
    """One that does not import is an error named after it, one that skips itself is skipped; the rest runs."""
    project.write(
        {
            "test_syntax.py": "def test_(:",
            "test_import.py": "import no_such_module\ndef test_a(): pass",
            "test_skip.py": "import pytest\npytest.importorskip('no_such_module')\ndef test_a(): pass",
            "test_good.py": "def test_a(): pass",
        }
    )
    ran = project.run()
    assert ran.code == 1
    assert ran.states == {
        "test_syntax.py": "error",
        "test_import.py": "error",
        "test_skip.py": "skipped",
        "test_good.py::test_a": "passed",
    }
    assert ran.message("test_import.py") == "ModuleNotFoundError: No module named 'no_such_module'"
    project.write({"test_syntax.py": "def test_s(): pass"})
    again = project.run("--last-failed")
    assert again.states == {"test_syntax.py::test_s": "passed", "test_import.py": "error"}


def test_a_module_that_ends_discovery_on_the_host(project: Project) -> None:
    """`os._exit` while it is imported: the group could not be listed, which is a failure and is said; no hang."""
    project.write({"test_a.py": "def test_a(): pass", "test_b.py": "import os\nos._exit(0)\ndef test_b(): pass"})
    ran = project.run()
    assert ran.code == 1
    assert ran.summary["discovery_errors"].keys() == {"all"}
    assert ran.states["group all"] == "error"
    assert "could not list the tests of group 'all'" in ran.out


def test_no_tests(project: Project) -> None:
    """An empty group warns; if all are, it is exit code 5, or 0 with `--no-tests pass`."""
    project.write({"tests/test_a.py": "X = 1"})
    ran = project.run()
    assert ran.code == 5
    assert "group 'all' has no tests" in ran.err
    assert "No tests were found." in ran.out
    assert project.run("--no-tests", "pass").code == 0


def test_groups(project: Project) -> None:
    """One id in two groups is two tests; an empty group warns; each group has its own settings."""
    project.write({"test_a.py": FLAKY, "test_b.py": "def test_b(): pass"})
    project.configure(
        groups="""
        [groups.strict]
        filters = "-k 'test_b'"
        [groups.patient]
        retry_count = 1
        filters = "-k 'test_b or test_it and 1'"
        [groups.none]
        filters = "-k nothing_has_this_name"
        """
    )
    ran = project.run()
    assert ran.code == 2
    assert ran.counts == {"passed": 2, "flaky": 1}
    groups = [(record.test.group, record.test.id) for record in ran.accounting.records.values()]
    assert sorted(groups) == [
        ("patient", "test_a.py::test_it[1]"),
        ("patient", "test_b.py::test_b"),
        ("strict", "test_b.py::test_b"),
    ]
    assert "group 'none' has no tests" in ran.err


def test_fail_fast(project: Project) -> None:
    """The first failure stops the run: exit code 1, and what had not run says why."""
    project.write(
        {
            "test_a.py": """
                import time
                import pytest
                def test_bad(): assert False
                @pytest.mark.parametrize("n", range(50))
                def test_later(n): time.sleep(0.2)
            """
        }
    )
    project.configure(1)
    ran = project.run("--fail-fast")
    assert ran.code == 1
    assert ran.ids("failed") == {"test_a.py::test_bad"}
    assert len(ran.ids("not_run")) > 40
    assert {each["reason"] for each in ran.summary["not_run"]} == {"stopped by --fail-fast after the first failure"}


def test_schedule_individual(project: Project) -> None:
    """Each test has a process to itself; neither a thief nor a retry changes that."""
    project.write(
        {
            "test_a.py": """
                import os, pathlib
                import pytest
                @pytest.mark.parametrize("n", range(8))
                def test_it(n):
                    first = not pathlib.Path(f"tried-{n}").exists()
                    pathlib.Path(f"tried-{n}").touch()
                    with open("processes", "a") as log:
                        log.write(f"{os.getpid()}\\n")
                    assert n != 3 or not first
            """
        }
    )
    project.configure(3, groups="[groups.all]\nschedule_individual = true\nretry_count = 1")
    ran = project.run()
    assert (ran.code, ran.counts) == (2, {"passed": 7, "flaky": 1})
    processes = (project.directory / "processes").read_text(encoding="utf-8").split()
    assert len(processes) == len(set(processes)) == 9


def test_unittest_doctests_and_subtests(project: Project) -> None:
    """What pytest runs besides functions."""
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
            "test_a.py": '''
                import unittest
                def double(n):
                    """
                    >>> double(2)
                    4
                    >>> double(3)
                    7
                    """
                    return 2 * n
                class TestOld(unittest.TestCase):
                    @classmethod
                    def setUpClass(cls): cls.ready = True
                    def test_good(self): assert self.ready
                    @unittest.skip("no")
                    def test_skipped(self): pass
                    def test_sub(self):
                        for n in range(3):
                            with self.subTest(n=n):
                                assert n != 1
            ''',
        }
    )
    ran = project.run()
    assert ran.code == 1
    assert ran.states == {
        "test_a.py::test_a.double": "failed",
        "test_a.py::TestOld::test_good": "passed",
        "test_a.py::TestOld::test_skipped": "skipped",
        "test_a.py::TestOld::test_sub": "failed",
    }


def test_what_a_retry_says_is_its_own(project: Project) -> None:
    """In one sandbox, and so in one process: no attempt has the output or the properties of the one before."""
    project.write(
        {
            "test_a.py": """
                count = 0

                def test_it(record_property):
                    global count
                    count += 1
                    print(f"try {count}")
                    record_property("try", count)
                    assert count == 3
            """
        }
    )
    project.configure(1, groups="[groups.all]\nretry_count = 2")
    ran = project.run()
    assert ran.counts == {"flaky": 1}
    (record,) = ran.accounting.records.values()
    said = [[section.text.strip() for section in attempt.output] for attempt in record.attempts]
    assert said == [["try 1"], ["try 2"], ["try 3"]]
    assert [attempt.properties for attempt in record.attempts] == [(("try", str(n)),) for n in (1, 2, 3)]
