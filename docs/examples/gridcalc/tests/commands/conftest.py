"""For the tests of the command line: a way to run it, and CSV files to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

Gridcalc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Where `python -m gridcalc` finds this copy, whatever the directory."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def gridcalc(environment: dict[str, str], tmp_path: Path) -> Gridcalc:
    """Runs the command in the test's own directory."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gridcalc", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False
        )

    return run


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """Three CSV files: a base, and two edits of it."""
    base = "item,price,count,total\nnut,0.5,10,=B2*C2\nbolt,0.7,20,=B3*C3\n,,,=SUM(D2:D3)\n"
    (tmp_path / "base.csv").write_text(base, encoding="utf-8")
    (tmp_path / "ours.csv").write_text(base.replace("0.5", "0.6"), encoding="utf-8")
    (tmp_path / "theirs.csv").write_text(base.replace("bolt", "screw").replace("20", "30"), encoding="utf-8")
