"""Options of the run and of the project's own pytest configuration, and what sandboxes do to the working tree."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.e2e.project import PYTHON, Project
from tests.support.marks import nightly


def installed(module: str) -> bool:
    """Whether the projects' interpreter has it."""
    return subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


needs_xdist = pytest.mark.skipif(not installed("xdist"), reason="pytest-xdist is not installed")
needs_cov = pytest.mark.skipif(not installed("pytest_cov"), reason="pytest-cov is not installed")


def test_parallel_and_env(project: Project) -> None:
    """`--parallel` bounds the sandboxes, `--env` reaches every test, `=` in its value and all."""
    project.write(
        {
            "test_a.py": """
                import os, time
                import pytest
                @pytest.mark.parametrize("n", range(12))
                def test_it(n):
                    time.sleep(0.05)
                    assert os.environ["GIVEN"] == "a=b c"
                    assert os.environ["OFFLOAD_ROOT"] == os.getcwd()
                    assert "OFFLOAD_PYTEST" not in os.environ
            """
        }
    )
    project.configure(8)
    ran = project.run("--parallel", "3", "--env", "GIVEN=a=b c")
    assert (ran.code, ran.counts) == (0, {"passed": 12})
    assert ran.summary["sandboxes"]["most_at_once"] <= 3
    assert ran.summary["max_parallel"] == 3


def test_layers(project: Project) -> None:
    """The environment is stronger than the file, the command line stronger than both; sandboxes see none of it."""
    project.write({"test_a.py": "import os\ndef test_a(): assert 'OFFLOAD_OFFLOAD__MAX_PARALLEL' not in os.environ"})
    ran = project.run(env={"OFFLOAD_OFFLOAD__MAX_PARALLEL": "5"})
    assert (ran.code, ran.summary["max_parallel"]) == (0, 5)
    ran = project.run("-p", "4", env={"OFFLOAD_OFFLOAD__MAX_PARALLEL": "5"})
    assert (ran.code, ran.summary["max_parallel"]) == (0, 4)


BESIDE = """
    import pathlib, time
    import pytest
    @pytest.mark.parametrize("n", range(20))
    def test_it(n):
        path = pathlib.Path(__file__).with_name("written")
        path.write_text(str(n))
        pathlib.Path("also-written").write_text(str(n))
        time.sleep(0.03)
        assert path.read_text() == pathlib.Path("also-written").read_text() == str(n)
        pathlib.Path("new-directory").mkdir(exist_ok=True)
"""


def test_copies_of_the_working_tree(project: Project) -> None:
    """`isolation = "copy"`: tests that write beside themselves do not collide, and the tree stays as it was."""
    project.write({"tests/test_a.py": BESIDE, "tests/data/x.txt": "data"})
    project.configure(4, provider='isolation = "copy"')
    before = sorted(path.name for path in project.directory.rglob("*") if "__pycache__" not in path.parts)
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 20})
    shutil.rmtree(ran.results)
    after = sorted(path.name for path in project.directory.rglob("*") if "__pycache__" not in path.parts)
    assert after == before


def test_a_git_tree_stays_clean(project: Project) -> None:
    """What the run leaves in a repository is what its .gitignore expects: the reports."""
    project.write({"tests/test_a.py": BESIDE, ".gitignore": "__pycache__/\ntest-results/\n"})
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=project.directory, check=True)
    project.configure(2, provider='isolation = "copy"')
    ran = project.run()
    assert ran.code == 0
    status = subprocess.run([*git, "status", "--porcelain"], cwd=project.directory, check=True, capture_output=True)
    assert status.stdout == b" M offload.toml\n"
    assert len(ran.summary["commit"]) == 40


SOME = "import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n): assert n != 3\n"


@pytest.mark.parametrize(
    "addopts",
    [
        "-q",
        nightly("-v --tb=long -ra --durations=3"),
        "-x",
        nightly("--maxfail=1"),
        "--lf",
        nightly("--ff"),
        nightly("--sw"),
        "-p no:terminal",
        nightly("-p no:cacheprovider"),
        nightly("--capture=no"),
        nightly("-s -l"),
        "--co",
        pytest.param("-n auto", marks=needs_xdist),
        pytest.param("-n 2 --dist loadfile --maxprocesses=2", marks=needs_xdist),
        pytest.param("--cov=. --cov-report=xml --cov-fail-under=99", marks=needs_cov),
        nightly("--junitxml=own.xml"),
        "--strict-markers --strict-config -W error",
        nightly("--import-mode=importlib"),
    ],
)
def test_addopts_do_not_break_a_run(project: Project, addopts: str) -> None:
    """What a project has in its ini file for plain pytest changes no verdict here."""
    project.write({"pytest.ini": f"[pytest]\naddopts = {addopts}\n", "test_a.py": SOME})
    ran = project.run()
    assert (ran.code, ran.counts) == (1, {"passed": 5, "failed": 1}), ran.out + ran.err


def test_a_configuration_elsewhere(project: Project) -> None:
    """`-c sub/offload.toml` from above: paths are relative to the configuration, also the reports."""
    inner = project.directory / "sub"
    project.write({"sub/tests/test_a.py": SOME, "sub/pytest.ini": "[pytest]\n"})
    shutil.move(project.directory / "offload.toml", inner / "offload.toml")
    (project.directory / "pytest.ini").unlink()
    ran = project.run("-c", "sub/offload.toml")
    assert ran.code == 1
    told = json.loads((inner / "test-results/summary.json").read_text(encoding="utf-8"))
    assert (told["counts"]["passed"], told["counts"]["failed"]) == (5, 1)
    assert "offload run --last-failed -c sub/offload.toml" in ran.out
    assert project.run("--last-failed", "-c", "sub/offload.toml").code == 1
    told = json.loads((inner / "test-results/summary.json").read_text(encoding="utf-8"))
    assert told["total"] == 1


def test_discovery_in_a_sandbox(project: Project) -> None:
    """`discover_in = "sandbox"`: the host's interpreter never imports the tests."""
    project.write({"test_a.py": "import os\nassert 'OFFLOAD_SANDBOX' in os.environ\n" + SOME})
    project.configure(framework='discover_in = "sandbox"')
    ran = project.run()
    assert (ran.code, ran.counts) == (1, {"passed": 5, "failed": 1})


def test_a_hook_that_selects_sees_all_tests_at_once(project: Project) -> None:
    """A conftest that keeps every other test, counted over all files, selects the same as under pytest."""
    project.write(
        {
            "conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = items[::2]",
            "test_a.py": "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass",
            "test_b.py": "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass",
        }
    )
    ran = project.run()
    assert ran.code == 0
    assert set(ran.states) == {"test_a.py::test_1", "test_a.py::test_3", "test_b.py::test_2"}


def test_random_ids_are_the_same_everywhere(project: Project) -> None:
    """Ids made from a set's order: one PYTHONHASHSEED for discovery and all sessions."""
    names = "import pytest\n@pytest.mark.parametrize('x', {f'name-{n}' for n in range(30)})\ndef test_it(x): pass"
    project.write({"test_a.py": names})
    project.configure(3)
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 30})


def test_ids_that_differ_in_the_sandbox_are_errors(project: Project) -> None:
    """Ids made from the time or the process: not found there, with the nearest that exist."""
    project.write(
        {"test_a.py": "import os, pytest\n@pytest.mark.parametrize('x', [f'n{os.getpid()}'])\ndef test_it(x): 0"}
    )
    ran = project.run()
    assert (ran.code, ran.counts) == (1, {"error": 1})
    assert "not found in the sandbox" in ran.out
    assert "test_a.py::test_it[n" in ran.out


def test_fixtures_of_every_scope(project: Project) -> None:
    """Session fixtures once in a process, module fixtures once per module there, packages' conftests and all."""
    project.write(
        {
            "conftest.py": """
                import os, pathlib
                import pytest
                def note(what):
                    with pathlib.Path(f"log-{os.getpid()}").open("a") as log:
                        log.write(what + "\\n")
                @pytest.fixture(scope="session", autouse=True)
                def whole():
                    note("session")
                    yield
                    note("end of session")
                @pytest.fixture(scope="module", autouse=True)
                def mod(request):
                    note(request.node.nodeid)
            """,
            "pkg/__init__.py": "",
            "pkg/conftest.py": """
                import pytest
                @pytest.fixture(autouse=True)
                def inner(): return 1
                @pytest.fixture(scope="package")
                def pack(): return {}
            """,
            "pkg/test_a.py": "def test_1(pack, inner): pack['x'] = 1\ndef test_2(pack, inner): assert inner == 1",
            "pkg/test_b.py": "def test_1(pack): pass",
            "test_c.py": "def test_1(): pass",
        }
    )
    project.configure(1)
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 4})
    (log,) = [path.read_text(encoding="utf-8").splitlines() for path in project.directory.glob("log-*")]
    assert sorted(log) == sorted(["session", "pkg/test_a.py", "pkg/test_b.py", "test_c.py", "end of session"])


def test_python_of_the_project(project: Project) -> None:
    """`command` may be any words that start pytest: a script of its own, with quotes and spaces in its path."""
    script = project.directory / "my runner's.py"
    script.write_text("import sys, pytest\nsys.exit(pytest.main())\n", encoding="utf-8")
    project.write({"test_a.py": SOME})
    project.configure(command=f'{PYTHON} "{script}"')
    ran = project.run()
    assert (ran.code, ran.counts) == (1, {"passed": 5, "failed": 1})
