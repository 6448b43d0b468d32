"""A small project on disk, `offload` run in it as a process, and what every run must have in common."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field, frozen
from defusedxml.ElementTree import parse
from junitparser import JUnitXml

from offload_core.results.accounting import Accounting
from offload_core.results.last_run import accounting_of

PYTHON = os.environ.get("OFFLOAD_TEST_PYTHON") or sys.executable
"""The interpreter whose pytest runs the projects' tests."""

BOUND_SECS = 300.0
"""Ends a test that hangs; nothing is measured by it."""

MARK = "OFFLOAD_E2E_PROJECT"
"""Every process of a project has it in its environment, however it was started."""

_PATIENCE_SECS = 30.0
"""How long what was killed from outside may take to be gone."""

CONFIG = """
[offload]
max_parallel = {parallel}
{offload}
[provider]
type = "local"
{provider}
[framework]
type = "pytest"
command = {command}
{framework}
{groups}
{rest}
"""


@define
class Project:
    """A directory with tests and an `offload.toml`, and a private TMPDIR beside it."""

    directory: Path
    temporary: Path
    environment: dict[str, str] = field(factory=dict)
    started: list[subprocess.Popen[bytes]] = field(factory=list)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, without the indentation that they have in the test."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def configure(
        self, parallel: int = 2, *, groups: str = "[groups.all]", command: str | None = None, **lines: str
    ) -> None:
        """Write `offload.toml`; `lines` go into the tables that they name, and `rest` to its end."""
        parts = {name: lines.get(name, "") for name in ("offload", "provider", "framework", "rest")}
        command = json.dumps(f"{PYTHON} -m pytest" if command is None else command)
        text = CONFIG.format(parallel=parallel, groups=groups, command=command, **parts)
        (self.directory / "offload.toml").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, command: str = "run") -> Running:
        """Start `offload run --ci` (or another command) in a session of its own, as a terminal would."""
        out, err = self.temporary.parent / "stdout", self.temporary.parent / "stderr"
        words = [sys.executable, "-m", "offload_core", command, *(["--ci"] if command == "run" else []), *arguments]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                words,
                cwd=self.directory,
                env={**self.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.started.append(process)
        return Running(self, process, out, err)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, command: str = "run") -> Ran:
        """Run to the end, and check what holds for every run."""
        return self.start(*arguments, env=env, command=command).finish()

    def processes(self) -> list[psutil.Process]:
        """What runs of this project, Offload itself included."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(MARK) == str(self.directory)
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def sandbox_processes(self) -> dict[str, list[psutil.Process]]:
        """The processes of each sandbox, by its id."""
        sandboxes: dict[str, list[psutil.Process]] = {}
        for process in self.processes():
            try:
                if id := process.environ().get("OFFLOAD_SANDBOX"):
                    sandboxes.setdefault(id, []).append(process)
            except (psutil.Error, OSError):
                continue
        return sandboxes

    def leftovers(self) -> list[str]:
        """Processes and temporary files that a run has left."""
        processes = [f"process {process.pid}" for process in self.processes()]
        return processes + [str(path) for path in self.temporary.glob("*") if not _is_empty(path)]

    def wait_until(self, reached: Callable[[], object], what: str) -> None:
        """Wait for a state of files or processes."""
        bound = time.monotonic() + BOUND_SECS
        while not reached():
            assert time.monotonic() < bound, f"never came: {what}"
            time.sleep(0.01)

    def events(self) -> list[dict[str, Any]]:
        """The journal as it is now, without a last line that is being written."""
        path = self.directory / "test-results/events.jsonl"
        if not path.exists():
            return []
        *lines, _ = path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines]

    def clean_up(self) -> None:
        """Kill what a failed test has left."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue
        for offload in self.started:
            offload.wait(BOUND_SECS)


@contextlib.contextmanager
def a_project(tmp_path: Path) -> Iterator[Project]:
    """An empty project that nothing of the outside configures, on two local sandboxes; its processes end with it."""
    directory, temporary = tmp_path / "project", tmp_path / "tmp"
    directory.mkdir()
    temporary.mkdir()
    hidden = ("OFFLOAD_", "PYTEST_", "COV_", "COVERAGE_", "DOCKER_", "GITHUB_")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "PYTHONHASHSEED"):
        outside.pop(name, None)
    made = Project(directory, temporary, {**outside, "TMPDIR": str(temporary), MARK: str(directory)})
    made.write({"pytest.ini": "[pytest]\n"})
    made.configure()
    try:
        yield made
    finally:
        made.clean_up()


def _is_empty(path: Path) -> bool:
    """The directory of all runs stays, and may be empty."""
    return path.name.startswith("offload-") and path.is_dir() and not any(path.iterdir())


@define
class Running:
    """An `offload` that runs."""

    project: Project
    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait_until(self, reached: Callable[[], object], what: str) -> None:
        """Wait for a state, as long as it runs."""
        self.project.wait_until(lambda: reached() or self.process.poll() is not None, what)
        assert self.process.poll() is None, f"ended before {what}: {self.err.read_text(errors='replace')}"

    def wait_for(self, event: str, number: int = 1, **fields: object) -> None:
        """Wait until the journal has so many of an event, with these values in its fields."""

        def there() -> bool:
            found = [each for each in self.project.events() if each["event"] == event]
            return sum(all(each.get(key) == value for key, value in fields.items()) for each in found) >= number

        self.wait_until(there, f"{number} {event} {fields}")

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """What Ctrl-C in a terminal sends: to the whole process group."""
        os.killpg(self.process.pid, number)

    def finish(self, *, clean: bool = True) -> Ran:
        """Wait for the end; `clean`: check that nothing is left."""
        try:
            code = self.process.wait(BOUND_SECS)
        except subprocess.TimeoutExpired:
            told = self.err.read_text(errors="replace")[-3000:]
            raise AssertionError(f"it does not end; processes {self.project.processes()}; stderr:\n{told}") from None
        ran = Ran(
            code,
            self.out.read_text(encoding="utf-8", errors="replace"),
            self.err.read_text(encoding="utf-8", errors="replace"),
            self.project.directory / "test-results",
        )
        if clean:
            left = self.project.leftovers()
            assert not left, (left, ran.err)
        assert "Traceback (most recent call last)" not in ran.err, ran.err
        assert "never awaited" not in ran.err
        if ran.has_reports:
            check_reports(ran)
        return ran


@frozen(slots=False)
class Ran:
    """An `offload` that has ended: its exit code, its output, and its reports."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def has_reports(self) -> bool:
        """Whether it came to writing them."""
        return (self.results / "summary.json").is_file()

    @cached_property
    def summary(self) -> Any:
        """`summary.json`."""
        return json.loads((self.results / "summary.json").read_text(encoding="utf-8"))

    @cached_property
    def accounting(self) -> Accounting:
        """What the journal adds up to."""
        return accounting_of(self.results / "events.jsonl")

    @property
    def counts(self) -> dict[str, int]:
        """How many tests are in each state that any is in."""
        return {state: number for state, number in self.summary["counts"].items() if number}

    @cached_property
    def states(self) -> dict[str, str]:
        """The state of each test, by its id; of the last one where an id stands for several."""
        return {record.test.id: record.state.value for record in self.accounting.records.values()}

    def ids(self, state: str) -> set[str]:
        """The ids of the tests in a state."""
        return {id for id, its in self.states.items() if its == state}

    def message(self, id: str) -> str:
        """Why a test ended as it did."""
        return next(
            record.deciding.message
            for record in self.accounting.records.values()
            if record.test.id == id and record.deciding
        )

    def incidents(self, kind: str) -> Sequence[Any]:
        """The incidents of a kind, as the summary tells them."""
        return [each for each in self.summary["incidents"] if each["kind"] == kind]


def check_reports(ran: Ran) -> None:
    """Journal, summary and JUnit report tell the same: one state for each test."""
    summary = ran.summary
    assert sum(summary["counts"].values()) == summary["total"] == len(ran.accounting.records)
    assert {state.value: number for state, number in ran.accounting.counts().items()} == ran.counts
    assert summary["exit_code"] == ran.code
    assert ran.accounting.finished is not None
    begun = Counter(
        (event["test"], event["number"])
        for event in map(json.loads, (ran.results / "events.jsonl").read_text(encoding="ascii").splitlines())
        if event["event"] == "TestBegan"
    )
    assert not [each for each, number in begun.items() if number > 1]
    check_junit(ran)


def check_junit(ran: Ran) -> None:
    """The JUnit report is well-formed, also by somebody else's reader, and its numbers are those of the summary."""
    path = ran.results / "junit.xml"
    counts = Counter(ran.summary["counts"])
    bad = counts["failed"] + counts["error"] + counts["timed_out"] + counts["crashed"]
    skipped = counts["skipped"] + counts["xfailed"] + counts["not_run"]
    root = parse(path).getroot()
    assert root is not None
    cases = list(root.iter("testcase"))
    assert len(cases) == ran.summary["total"]
    assert sum(case.find("failure") is not None or case.find("error") is not None for case in cases) == bad
    assert sum(case.find("skipped") is not None for case in cases) == skipped
    theirs = JUnitXml.fromfile(str(path))
    assert theirs.tests == len(cases)
    assert theirs.failures + theirs.errors == bad
    assert theirs.skipped == skipped
