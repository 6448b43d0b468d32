"""The examples of the documentation, each in a project of a test's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.project import Project, a_project
from tests.frameworks import nextest_tool

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project, on two local sandboxes."""
    with a_project(tmp_path) as made:
        yield made


@pytest.fixture
def example(project: Project) -> Callable[[str], Project]:
    """Fill the project with an example, by its name."""

    def fill(name: str) -> Project:
        shutil.copytree(EXAMPLES / name, project.directory, dirs_exist_ok=True)
        (project.directory / "pytest.ini").unlink()
        return project

    return fill


@pytest.fixture(scope="session")
def nextest() -> Path:
    """Where cargo-nextest is."""
    found = nextest_tool.directory()
    if found is None:
        pytest.skip("no cargo-nextest: `python -m tests.frameworks.nextest_tool` installs it")
    return found
