"""Logs: what sandboxes print, per sandbox and session."""

from __future__ import annotations

from pathlib import Path

import pytest

from offload_core.errors import ReportError
from offload_core.events import LogLine, SessionEnded, Stamped
from offload_core.results.directory import OutputDirectory
from offload_core.results.logs import SandboxLogs


def said(line: str, sandbox: str = "box-1", session: str = "s1") -> Stamped:
    """A line that a session printed after 1.5 s."""
    return Stamped(1.5, LogLine(sandbox=sandbox, session=session, line=line))


@pytest.fixture
def directory(tmp_path: Path) -> OutputDirectory:
    """An output directory; nobody else is there, so it is not locked."""
    return OutputDirectory(tmp_path)


def test_lines_are_there_at_once(directory: OutputDirectory) -> None:
    """Each line is in its session's file when it was said, with the time, without control characters."""
    failures: list[ReportError] = []
    consume = SandboxLogs(directory.claim, failures)
    consume(said("one \x1b[31mred\x1b[0m \x00"))
    consume(said("other", "box-2", "s9"))
    consume(said("two\rthree \udc80"))
    log = directory.path / "logs/box-1.s1.log"
    assert log.read_text() == "[    1.500] one red \\x00\n[    1.500] two\n[    1.500] three \\udc80\n"
    assert (directory.path / "logs/box-2.s9.log").read_text() == "[    1.500] other\n"
    consume.close()
    assert failures == []


def test_names_cannot_leave_the_directory(directory: OutputDirectory) -> None:
    """A sandbox or session with a hostile name has its log in `logs/`."""
    consume = SandboxLogs(directory.claim, [])
    consume(said("x", "../../evil", "/etc/passwd"))
    consume.close()
    assert [path.name for path in (directory.path / "logs").iterdir()] == ["evil.etc-passwd.log"]


def test_few_files_are_open(directory: OutputDirectory) -> None:
    """With more sessions than files may be open, no line is lost when one is closed and opened again."""
    consume = SandboxLogs(directory.claim, [], max_open=3)
    for number in range(3):
        for session in range(10):
            consume(said(f"line {number}", session=f"s{session}"))
    consume(Stamped(2.0, SessionEnded(sandbox="box-1", session="s9", complete=True)))
    consume(said("late", session="s9"))
    consume.close()
    for session in range(10):
        lines = (directory.path / f"logs/box-1.s{session}.log").read_text().splitlines()
        assert [line.split("] ")[1] for line in lines][:3] == ["line 0", "line 1", "line 2"]
    assert (directory.path / "logs/box-1.s9.log").read_text().endswith("late\n")


def test_sizes_are_bounded_and_marked(directory: OutputDirectory) -> None:
    """A session that prints without end fills no disk, and its log says where it was cut."""
    consume = SandboxLogs(directory.claim, [], max_bytes=10_000)
    for _ in range(1000):
        consume(said("x" * 100))
    consume(said("y", session="s2"))
    consume.close()
    text = (directory.path / "logs/box-1.s1.log").read_text()
    assert len(text) < 11_000
    assert text.count("this log ends here") == 1
    assert (directory.path / "logs/box-1.s2.log").exists()


def test_logs_that_cannot_be_written(directory: OutputDirectory) -> None:
    """A file where `logs` should be is one failure, not one per line."""
    (directory.path / "logs").write_text("")
    failures: list[ReportError] = []
    consume = SandboxLogs(directory.claim, failures)
    for session in range(5):
        consume(said("x", session=f"s{session}"))
    consume.close()
    assert len(failures) == 1
    assert "could not be written" in str(failures[0])
