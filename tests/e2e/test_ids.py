"""Which tests run: ids of any characters, paths, filters, and what is left from the last run."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project
from tests.support.marks import nightly

ODD = r"""
    import pytest
    VALUES = ["a b", "it's", 'say "no"', "[x]", "]", "a[b", "a::b", "ä-☃-𝄞", "$HOME `id` $(id)", "*?", "a\nb", "a\tb",
              "\x1b[31mred", "\x00", "-k x", "--help", "a/b", "\\", "", "%s {0}", "#;&|<>", "x" * 300, "\ud800"]

    @pytest.mark.parametrize("value", VALUES)
    def test_it(value):
        import pathlib
        assert pathlib.Path("good").exists()

    @pytest.mark.parametrize("value", VALUES, ids=VALUES)
    def test_named(value): pass

    @pytest.mark.parametrize("value", ["twice", "twice", "twice"], ids=["same", "same", "same"])
    def test_same(value): pass
"""


def test_odd_ids_run_and_run_again(project: Project) -> None:
    """Any characters: in the run, in the reports, and by --last-failed."""
    project.write({"test_odd.py": ODD})
    ran = project.run()
    assert ran.code == 1
    odd = len(ran.ids("failed"))
    assert odd == 23
    assert ran.counts["passed"] == 26
    assert set(ran.counts) == {"passed", "failed"}
    (project.directory / "good").touch()
    again = project.run("--last-failed")
    assert again.code == 0, again.out + again.err
    assert again.ids("passed") == ran.ids("failed")


def test_odd_ids_as_arguments(project: Project) -> None:
    """Each id as a journal tells it is an argument that selects that test."""
    project.write({"good": "", "test_odd.py": ODD})
    every = [id for id in project.run().states if "\0" not in id and id.isprintable()]
    asked = [id for id in every if "test_named" in id]
    assert len(asked) > 10
    ran = project.run(*asked)
    assert ran.code == 0, ran.out + ran.err
    assert set(ran.states) == set(asked)


def test_an_item_that_a_hook_lists_twice_is_one_test(project: Project) -> None:
    """It has one verdict; nothing waits for a second one."""
    hook = "def pytest_collection_modifyitems(items):\n    items[:] = [item for item in items for _ in range(2)]"
    project.write({"test_a.py": "def test_a(): pass\ndef test_b(): pass", "conftest.py": hook})
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 2})


SUITE = {
    "tests/test_a.py": """
        import pytest
        class TestOne:
            def test_x(self): pass
            @pytest.mark.parametrize("n", [1, 2])
            def test_y(self, n): pass
        class TestOneMore:
            def test_x(self): pass
        def test_z(): pass
    """,
    "tests/sub/test_b.py": "import pytest\n@pytest.mark.heavy\ndef test_x(): pass\ndef test_y(): pass",
    "tests/sub/test_bb.py": "def test_x(): pass",
    "pytest.ini": "[pytest]\nmarkers = heavy\n",
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        nightly(["tests/test_a.py"], 5),
        (["tests/test_a.py::TestOne"], 3),
        nightly(["tests/test_a.py::TestOne::test_y"], 2),
        (["tests/test_a.py::TestOne::test_y[2]"], 1),
        nightly(["tests/sub"], 3),
        (["./tests/sub/"], 3),
        (["tests/sub/test_b.py", "tests/test_a.py::test_z"], 3),
        nightly(["tests"], 8),
        nightly(["tests/test_a.py::test_z", "tests/test_a.py"], 5),
        nightly(["."], 8),
        (["tests/../tests/sub//test_b.py"], 2),
    ],
)
def test_parts_by_argument(project: Project, asked: list[str], expected: int) -> None:
    """A file, a directory, a class, a function with all its parameters, one test."""
    project.write(SUITE)
    ran = project.run(*asked)
    assert (ran.code, ran.counts) == (0, {"passed": expected})


TYPING_ERRORS = ["tests/test_c.py", "tests/test_a.py::test_w", "tests/test_a", "tests/test_a.py::Test", "/tests"]


@pytest.mark.parametrize("asked", TYPING_ERRORS)
def test_what_matches_nothing_is_an_error(project: Project, asked: str) -> None:
    """A typing error is exit code 4 and named; no success."""
    project.write(SUITE)
    ran = project.run(asked)
    assert ran.code == 4
    assert f"no test matches '{asked}'" in ran.err


def test_an_absolute_path_is_a_path(project: Project) -> None:
    """As a shell's completion or an editor gives it."""
    project.write(SUITE)
    ran = project.run(str(project.directory / "tests/test_a.py"))
    assert (ran.code, ran.counts) == (0, {"passed": 5})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("-k 'test_x'", 4),
        ("-k 'test_x and not TestOne'", 2),
        ("-m heavy", 1),
        ("-m 'not heavy'", 7),
        ("--deselect tests/test_a.py::test_z", 7),
        ("--ignore=tests/sub", 5),
        ("tests/sub", 3),
        ("-x -k test_x", 4),
    ],
)
def test_filters(project: Project, filters: str, expected: int) -> None:
    """pytest's own selection, applied to discovery."""
    project.write(SUITE)
    project.configure(groups=f'[groups.all]\nfilters = "{filters}"')
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": expected})


def test_last_failed_narrows_with_arguments_and_groups(project: Project) -> None:
    """Only what failed, in the group where it failed, and among that what is asked for."""
    project.write(
        {"test_a.py": "def test_1(): assert 0\ndef test_2(): assert 0", "test_b.py": "def test_3(): assert 0"}
    )
    project.configure(groups='[groups.a]\nfilters = "test_a.py"\n[groups.b]\nfilters = "test_b.py"\n')
    assert project.run().code == 1
    ran = project.run("--last-failed", "test_a.py::test_2")
    assert (ran.code, set(ran.states)) == (1, {"test_a.py::test_2"})
