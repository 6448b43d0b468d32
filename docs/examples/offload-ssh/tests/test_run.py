"""`offload run` over ssh: a sandbox that dies in the middle costs no test, and nothing is left on the host."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from openssh import Server, kill_marked

TESTS = """\
import pathlib, time
import pytest

BESIDE = pathlib.Path({beside!r})

@pytest.mark.parametrize("number", range(8))
def test_it(number):
    (BESIDE / f"began-{{number}}").touch()
    while not (BESIDE / "go").exists():
        time.sleep(0.01)
"""
CONFIG = """\
[offload]
max_parallel = 2
test_timeout_secs = 120
[provider]
type = "ssh"
hosts = ["host"]
ssh = {ssh}
directory = "{directory}"
[framework]
type = "pytest"
command = "{python} -m pytest"
[groups.all]
"""


def test_a_sandbox_that_is_killed_costs_no_test(server: Server, tmp_path: Path) -> None:
    """All pass, the death is an incident, and the host is as it was."""
    project, beside, sandboxes = tmp_path / "project", tmp_path / "beside", tmp_path / "sandboxes"
    project.mkdir()
    beside.mkdir()
    settings = {"ssh": json.dumps(server.ssh), "directory": sandboxes, "python": sys.executable}
    (project / "offload.toml").write_text(CONFIG.format(**settings))
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "test_it.py").write_text(TESTS.format(beside=str(beside)))
    with (tmp_path / "said").open("wb") as said:
        command = [sys.executable, "-m", "offload_core", "run", "--ci"]
        run = subprocess.Popen(command, cwd=project, stdout=said, stderr=said)
    try:
        wait_until(lambda: len(list(beside.glob("began-*"))) == 2 or run.poll() is not None)
        kill_marked(next(sandboxes.glob("*.*")).name)
        (beside / "go").touch()
        code = run.wait()
    finally:
        (beside / "go").touch()
        run.terminate()
        run.wait()
    told = (tmp_path / "said").read_text()
    assert code == 0, told
    summary = json.loads((project / "test-results" / "summary.json").read_text())
    assert (summary["counts"]["passed"], summary["total"]) == (8, 8)
    assert "its keeper does not run on host any more" in told
    assert list(sandboxes.iterdir()) == []


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for a state, which has to come."""
    bound = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < bound
        time.sleep(0.01)
