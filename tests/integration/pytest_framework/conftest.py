"""The suite that each test here writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.pytest_framework.harness import Suite


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """An empty project, with a pytest.ini that makes it the root."""
    directory = tmp_path / "project"
    directory.mkdir()
    made = Suite(directory, tmp_path / "scratch")
    made.write({"pytest.ini": "[pytest]\n"})
    return made
