"""A project for each test, and nothing of it left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import MARK, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project that nothing of the outside configures, on two sandboxes."""
    directory, temporary = tmp_path / "project", tmp_path / "tmp"
    directory.mkdir()
    temporary.mkdir()
    hidden = ("OFFLOAD_", "PYTEST_", "COV_", "COVERAGE_")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "PYTHONHASHSEED"):
        outside.pop(name, None)
    made = Project(directory, temporary, {**outside, "TMPDIR": str(temporary), MARK: str(directory)})
    made.write({"pytest.ini": "[pytest]\n"})
    made.configure()
    yield made
    made.clean_up()
