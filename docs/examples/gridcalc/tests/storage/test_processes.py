"""One file, many processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gridcalc import Sheet
from gridcalc.store import Store

pytestmark = pytest.mark.processes

PROJECT = Path(__file__).parents[2]


def adding(path: Path, sheet: str, cell: str, number: int, times: int) -> subprocess.Popen[bytes]:
    """A process that adds to a cell, so many times."""
    arguments = ["add", str(path), sheet, cell, str(number), "--times", str(times)]
    command = [sys.executable, "-m", "gridcalc", *arguments]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(PROJECT)})


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("times", [5, 25])
def test_nothing_is_lost(path: Path, workers: int, times: int) -> None:
    """Processes that add to the same cell at the same time come to the right sum, and each adding is a version."""
    processes = [adding(path, "total", "A1", worker + 1, times) for worker in range(workers)]
    assert [process.wait(60) for process in processes] == [0] * workers
    with Store(path) as store:
        sheet, number = store.load("total")
    assert sheet["A1"] == float(times * sum(range(1, workers + 1)))
    assert number == times * workers


def test_different_cells_do_not_disturb(path: Path) -> None:
    """Edits of one sheet in different cells all arrive."""
    processes = [adding(path, "total", f"{column}1", 1, 8) for column in "ABC"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with Store(path) as store:
        assert [store.load("total")[0][f"{column}1"] for column in "ABC"] == [8.0, 8.0, 8.0]


@pytest.mark.parametrize("versions", [3, 10])
def test_a_killed_writer_leaves_whole_versions(path: Path, versions: int) -> None:
    """However a process ends, every version that can be seen is whole, and others can go on."""
    with Store(path) as store:
        store.save("total", Sheet({"A1": "0"}))
        writer = adding(path, "total", "A1", 1, 100_000)
        while writer.poll() is None and len(store.history("total")) < versions:
            pass
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(60) == -signal.SIGKILL
        sheet, number = store.load("total")
        assert sheet["A1"] == float(number - 1)
        assert store.edit("total", lambda sheet: sheet.update({"B1": "still here"})) == number + 1


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows refuses to remove an open file")
def test_an_open_store_cannot_be_removed(store: Store, path: Path) -> None:
    """Where the system protects open files, the store is protected."""
    with pytest.raises(PermissionError):
        path.unlink()
