"""A project for each test, and nothing of it left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import Project, a_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project, on two local sandboxes."""
    with a_project(tmp_path) as made:
        yield made
