"""`offload run` with sandboxes made of shell scripts, as somebody would use it who comes from the Rust tool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from offload_core.cli import main

BOUND_SECS = 300.0

SUITE = """\
import os, pathlib, time
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_it(n, capfd):
    print("noise on every stream")
    {body}
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the scripts look under /proc")


@frozen
class Ran:
    """A run that has ended."""

    code: int
    err: str
    summary: Any

    @property
    def counts(self) -> dict[str, int]:
        """How many tests are in each state that any is in."""
        return {state: number for state, number in self.summary["counts"].items() if number}


class Project:
    """A directory with a suite, and sandboxes beside it that see it where it is."""

    def __init__(self, directory: Path, folders: Any) -> None:
        self.directory = directory
        self.folders = folders

    def write(self, count: int, body: str = "pass", parallel: int = 2, **options: Any) -> None:
        """A suite of so many tests, and a configuration with these keys in `[provider]`."""
        self.directory.mkdir()
        (self.directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (self.directory / "test_it.py").write_text(SUITE.format(count=count, body=body), encoding="utf-8")
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.folders.options(**options).items()]
        tables = {
            "offload": [f"max_parallel = {parallel}", f"sandbox_project_root = {json.dumps(str(self.directory))}"],
            "provider": ['type = "default"', *lines],
            "framework": ['type = "pytest"', f"command = {json.dumps(f'{sys.executable} -m pytest')}"],
            "groups.all": [],
            "liveness": ["interval_secs = 0.2"],
        }
        text = "\n".join(line for name, entries in tables.items() for line in (f"[{name}]", *entries))
        (self.directory / "offload.toml").write_text(text, encoding="utf-8")
        assert tomllib.loads(text)["provider"]["type"] == "default"

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """`offload run`."""
        hidden = ("OFFLOAD_", "PYTEST_", "COV_")
        return subprocess.Popen(
            [sys.executable, "-m", "offload_core", "run", "--ci", *arguments],
            cwd=self.directory,
            env={name: value for name, value in os.environ.items() if not name.startswith(hidden)},
            stdin=subprocess.DEVNULL,
            text=True,
            **streams,
        )

    def wait_until_two_tests_run(self, running: subprocess.Popen[str]) -> None:
        """Wait for the files that `BUSY` makes."""
        deadline = time.monotonic() + BOUND_SECS
        while len(list(self.directory.glob("up-*"))) < 2:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self, *arguments: str) -> Ran:
        """`offload run`, to its end."""
        with self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            _, err = running.communicate(timeout=BOUND_SECS)
        assert "Traceback" not in err, err
        summary = json.loads((self.directory / "test-results/summary.json").read_text(encoding="utf-8"))
        return Ran(running.returncode, err, summary)


@pytest.fixture
def project(tmp_path: Path, folders: Any) -> Project:
    """A project that is still to be written."""
    return Project(tmp_path / "project", folders)


def test_a_suite_runs(project: Project) -> None:
    """Every test has its verdict, and every sandbox that was created was destroyed, once."""
    project.write(20, "assert n != 7")
    ran = project.run()
    assert ran.code == 1, ran.err
    assert ran.counts == {"passed": 19, "failed": 1}
    assert ran.summary["incidents"] == []
    calls = project.folders.calls()
    created = {id for verb, id in calls if verb == "create"}
    assert created
    assert {id: calls["destroy", id] for id in created} == dict.fromkeys(created, 1)


def test_without_standard_input(project: Project) -> None:
    """Where `exec_command` hands on no input, sessions are as warm as elsewhere; it is said once."""
    exec_command = project.folders.line("exec-without-input", "{sandbox_id} {command}")
    project.write(40, "assert n != 7", exec_command=exec_command)
    ran = project.run()
    assert ran.code == 1, ran.err
    assert ran.counts == {"passed": 39, "failed": 1}
    assert ran.summary["incidents"] == []
    assert ran.err.count("hands on no standard input") == 1


VICTIM = """if n == 10 and not pathlib.Path("victim").exists():
        pathlib.Path("victim").write_text(os.environ["FOLDER"])
        note = pathlib.Path(os.environ["FOLDER"], "note")
        note.write_text("preempted: node 7 is gone")
        note.rename(note.with_name("dead"))  # whoever looks sees all of it
        time.sleep(600)
"""


@pytest.mark.parametrize("told_by", ["exec", "probe"])
def test_a_sandbox_that_says_it_is_dead_costs_no_test(project: Project, told_by: str) -> None:
    """Whichever command says so, in the middle of the run: all tests pass, and that was the last command for it."""
    options: dict[str, Any] = {}
    if told_by == "exec":
        exec_command = project.folders.line("exec-watched", "{sandbox_id} {command}")
        options = {"exec_command": exec_command, "probe_command": None, "list_command": None}
    project.write(24, VICTIM, **options)
    ran = project.run()
    assert ran.code == 0, ran.err
    assert ran.counts == {"passed": 24}
    (incident,) = ran.summary["incidents"]
    assert "preempted: node 7 is gone" in incident["reason"]
    victim = Path((project.directory / "victim").read_text(encoding="utf-8")).name
    calls = [line.split("\t") for line in (project.folders.home / "calls").read_text(encoding="utf-8").splitlines()]
    said = calls.index(["dead", victim])
    expected = [["destroy", victim]] if told_by == "probe" else []  # the list shows that something is left of it
    assert [call for call in calls[said + 1 :] if call[1] == victim] == expected


SILENT = """if n == 10 and not pathlib.Path("victim").exists():
        pathlib.Path("victim").touch()
        os.rename(os.environ["FOLDER"], os.environ["FOLDER"] + ".gone")
        os.kill(os.getpid(), 9)
"""


def test_a_silent_death_without_a_probe(project: Project) -> None:
    """It is seen when no command can be run any more: an incident, and not a crash of the test that was running."""
    exec_command = project.folders.line("exec-silent", "{sandbox_id} {command}")
    project.write(24, SILENT, exec_command=exec_command, probe_command=None, list_command=None)
    ran = project.run()
    assert ran.code == 0, ran.err
    assert ran.counts == {"passed": 24}
    (incident,) = ran.summary["incidents"]
    assert incident["kind"] == "sandbox_dead"
    assert "no command can be run in it any more" in incident["reason"]


def test_init_writes_a_file_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under both names; the commands are examples, and valid."""
    monkeypatch.chdir(tmp_path)
    for name in ("default", "command"):
        assert main(["init", "--force", "-p", name, "-f", "pytest"]) == 0
        assert main(["validate", "--strict"]) == 0
        provider = tomllib.loads((tmp_path / "offload.toml").read_text(encoding="utf-8"))["provider"]
        assert provider["type"] == name
        assert "{command}" in provider["exec_command"]


BUSY = """pathlib.Path(f"up-{n}").touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("verb", ["exec", "exec-without-input"])
def test_an_interrupted_run_leaves_nothing(project: Project, verb: str) -> None:
    """Ctrl-C while tests run: every sandbox is destroyed, and no process is left, here or there."""
    exec_command = project.folders.line(verb, "{sandbox_id} {command}")
    project.write(8, BUSY, exec_command=exec_command)
    with project.start() as running:
        project.wait_until_two_tests_run(running)
        running.send_signal(signal.SIGINT)
        assert running.wait(BOUND_SECS) == 130
    calls = project.folders.calls()
    created = {id for verb, id in calls if verb == "create"}
    assert {id: calls["destroy", id] for id in created} == dict.fromkeys(created, 1)
    assert str(project.directory) not in project.folders.environments("OFFLOAD_ROOT").values()


def test_reap_ends_what_a_killed_run_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process finds the sandboxes of a run by `list_command`, and destroys them."""
    project.write(8, BUSY)
    with project.start() as running:
        project.wait_until_two_tests_run(running)
        running.kill()
    calls = project.folders.calls()
    created = {id for verb, id in calls if verb == "create"}
    assert len(created) == 2
    assert not any(calls["destroy", id] for id in created)
    monkeypatch.chdir(project.directory)
    assert main(["reap", "--all", "--yes"]) == 0
    calls = project.folders.calls()
    assert {id: calls["destroy", id] for id in created} == dict.fromkeys(created, 1)
    assert not any(project.folders.box(id).exists() for id in created)
