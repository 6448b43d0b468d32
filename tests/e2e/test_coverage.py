"""Coverage with pytest-cov over several sandboxes, one of which dies: brought, combined, and the same as without."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import PYTHON, Project
from tests.e2e.test_sandbox_death import is_supervisor, kill

SHOP = """
    def total(prices, discount=0):
        if discount == 10:
            return 90
        if discount == 20:
            return 80
        if discount == 30:
            return 70
        return sum(prices)

    def unused():
        return "never"
"""
TESTS = """
    import os, pathlib, time
    import pytest
    import shop

    @pytest.mark.parametrize("discount", [0, 10, 20])
    def test_total(discount):
        assert shop.total([100], discount) == 100 - discount

    def test_victim():
        if not pathlib.Path("go").exists() and "OFFLOAD_SANDBOX" in os.environ:
            pathlib.Path("victim.tmp").write_text(os.environ["OFFLOAD_SANDBOX"])
            pathlib.Path("victim.tmp").rename("victim")
            while not pathlib.Path("go").exists():
                time.sleep(0.01)
"""
SETTINGS = """
    [pytest]
    pythonpath = .
"""
COVERAGE = """
    [run]
    source = shop
    relative_files = true
"""


def python(project: Project, *arguments: str) -> None:
    """Run a module in the project."""
    words = [PYTHON, "-m", *arguments]
    done = subprocess.run(words, cwd=project.directory, env=project.environment, capture_output=True, check=False)
    assert done.returncode == 0, done


def reported(project: Project, name: str) -> Any:
    """The lines that were run and those that were not, of each file."""
    python(project, "coverage", "json", "-o", name)
    files = json.loads((project.directory / name).read_text(encoding="utf-8"))["files"]
    return {file: (each["executed_lines"], each["missing_lines"]) for file, each in files.items()}


def test_coverage_is_combined(project: Project) -> None:
    """What the guide says, step by step: the combined report has each line that any sandbox ran."""
    if subprocess.run([PYTHON, "-c", "import pytest_cov"], capture_output=True, check=False).returncode:
        pytest.skip("no pytest-cov")
    project.write({"shop.py": SHOP, "tests/test_shop.py": TESTS, "pytest.ini": SETTINGS, ".coveragerc": COVERAGE})
    python(project, "pytest", "-q", "--cov", "--cov-report=")
    expected = reported(project, "plain.json")
    (project.directory / ".coverage").unlink()
    project.configure(
        framework='run_args = "--cov --cov-report="',
        groups="[groups.all]\nschedule_individual = true",
        rest='[report]\ndownload_globs = [".coverage*"]',
    )
    running = project.start()
    victim = project.directory / "victim"
    running.wait_until(victim.exists, "the victim runs")
    kill(filter(is_supervisor, project.sandbox_processes()[victim.read_text(encoding="utf-8")]))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.err
    assert len(ran.incidents("sandbox_dead")) == 1
    assert [path.name for path in project.directory.glob(".coverage*")] == [".coveragerc"], "nothing in the project"
    files = sorted(Path(ran.results).glob("s*/*/.coverage*"))
    assert len({path.parent for path in files}) == len(files) >= 4, "one of each session that came to its end"
    python(project, "coverage", "combine", *map(str, files))
    assert reported(project, "combined.json") == expected
    assert all(expected["shop.py"]), "lines of both kinds, or this proves nothing"
