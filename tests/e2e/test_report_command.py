"""`offload report`: what a run wrote can be made again from its journal, byte for byte."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from offload_core.cli import main
from tests.e2e.project import Project, Ran, a_project

NAMES = ("junit.xml", "trace.json", "report.html", "summary.md", "summary.json")
TESTS = """
    import os, pytest
    def test_good(): print("fine")
    def test_bad(): assert "a" == "<b>"
    @pytest.mark.skip(reason="not today")
    def test_skipped(): pass
    def test_kills_its_process(): os._exit(3)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A run with failures, a crash and an incident."""
    with a_project(tmp_path_factory.mktemp("finished")) as project:
        project.write({"test_a.py": TESTS})
        project.configure(groups="[groups.all]\nretry_count = 1", rest="[report]\nhtml = true")
        ran = project.run("--trace")
        assert ran.counts == {"passed": 1, "failed": 1, "skipped": 1, "crashed": 1}
        assert str(ran.results / "report.html") in ran.out
        yield ran


@pytest.fixture
def reported(finished: Ran, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The reports that the run wrote; its project is the current directory."""
    monkeypatch.chdir(finished.results.parent)
    return {name: (finished.results / name).read_bytes() for name in NAMES}


def test_all_of_it_from_the_journal(
    finished: Ran, reported: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reports gone, each is there again as it was."""
    results = finished.results
    for name in NAMES:
        (results / name).unlink()
    assert main(["report", "test-results"]) == 0
    assert set(map(str, (results / name for name in NAMES))) <= set(capsys.readouterr().out.split())
    assert {name: (results / name).read_bytes() for name in NAMES} == reported


def test_the_users_own_files_survive(finished: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of that name that Offload did not write there is renamed and that is said; its own is written anew."""
    (tmp_path / "events.jsonl").write_bytes((finished.results / "events.jsonl").read_bytes())
    (tmp_path / "summary.md").write_text("mine")
    assert main(["report", str(tmp_path), "--markdown"]) == 0
    assert "summary.md.kept now" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--markdown"]) == 0
    assert [each.read_text() for each in tmp_path.glob("*.kept*")] == ["mine"]


def test_one_of_them_somewhere_else(
    reported: dict[str, bytes], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`-o` writes one report, by default the page, of the configured run, to a file or to standard output."""
    page = tmp_path / "page.html"
    assert main(["report", "-o", str(page)]) == 0
    assert page.read_bytes() == reported["report.html"]
    capfdbinary.readouterr()
    assert main(["report", "--junit", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == reported["junit.xml"]
    assert main(["report", "--junit", "--html", "-o", str(page)]) == 4
    assert b"-o takes one report" in capfdbinary.readouterr().err


@pytest.mark.usefixtures("reported")
def test_what_is_no_plain_file_is_written_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`-o` puts the report into a pipe and through a link, and leaves both what they are; a directory is refused."""
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    junit = Path("test-results/junit.xml").read_bytes()
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # nobody waits, whatever the command does
    try:
        assert main(["report", "--junit", "-o", str(pipe)]) == 0
        assert os.read(reader, 1 << 16) == junit
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert capfd.readouterr().out == ""
    link.symlink_to(target)
    for _ in range(2):
        assert main(["report", "--junit", "-o", str(link)]) == 0
        assert (link.is_symlink(), target.read_bytes()) == (True, junit)
    assert main(["report", "--junit", "-o", str(tmp_path)]) == 3
    assert "could not be written: Is a directory" in capfd.readouterr().err


def test_the_journal_alone_is_enough(
    reported: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Brought from elsewhere, under any name, with nothing beside it and no configuration."""
    alone = tmp_path / "downloaded.jsonl"
    alone.write_bytes(Path("test-results/events.jsonl").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(alone), "--html", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == reported["report.html"]
    assert main(["report", str(alone), "--summary", "-o", "-"]) == 0
    summary = json.loads(capfdbinary.readouterr().out)
    assert {**summary, "reports": {}} == {**json.loads(reported["summary.json"]), "reports": {}}


def test_reports_of_another_run_are_not_overwritten(
    finished: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a journal that is not the directory's own, `-o` has to say where to."""
    previous = tmp_path / "events.previous.jsonl"
    previous.write_bytes((finished.results / "events.jsonl").read_bytes())
    (tmp_path / "junit.xml").write_text("of the latest run")
    assert main(["report", str(previous), "--junit"]) == 4
    assert "say with -o where it goes" in capsys.readouterr().err
    assert (tmp_path / "junit.xml").read_text() == "of the latest run"
    assert main(["report", str(previous), "--junit", "-o", str(tmp_path / "junit.xml")]) == 0
    assert (tmp_path / "junit.xml").read_bytes() == (finished.results / "junit.xml").read_bytes()


def test_names_that_the_configuration_gives(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`html_file` names the page, in the run and after it, and the next run removes it; it stays in the directory."""
    project.write({"test_a.py": "def test_a(): pass\n"})
    project.configure(rest='[report]\nhtml = true\nhtml_file = "pages/run.html"')
    page = project.run().results / "pages/run.html"
    written = page.read_bytes()
    page.unlink()
    monkeypatch.chdir(project.directory)
    assert main(["report", "--html"]) == 0
    assert page.read_bytes() == written
    project.configure()
    project.run()
    assert not page.exists()
    project.configure(rest='[report]\nhtml = true\nhtml_file = "../run.html"')
    assert main(["report", "--html"]) == 4


def test_a_run_that_was_cut(finished: Ran, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From the journal of a run that was killed: what had finished, and nothing that looks like a success."""
    lines = (finished.results / "events.jsonl").read_text(encoding="ascii").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if '"AttemptFinished"' in line and '"passed"' in line)
    journal = tmp_path / "events.jsonl"
    journal.write_text("".join(lines[: first + 1]) + '{"at":', encoding="ascii")
    assert main(["report", str(tmp_path), "--summary", "-o", "-"]) == 0
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert "cut short" in captured.err
    assert summary["counts"]["passed"] == 1
    assert summary["counts"]["not_run"] > 0
    assert summary["exit_code"] in (1, 3)
    assert main(["report", str(tmp_path), "-o", "-"]) == 0
    assert "The journal ends before the run did." in capfd.readouterr().out


def test_nothing_to_report_on(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No journal, or a file that is none: said, without a traceback."""
    monkeypatch.chdir(project.directory)
    assert main(["report"]) == 4
    assert "there is no journal at" in capsys.readouterr().err
    project.write({"other.jsonl": "{}\n"})
    assert main(["report", "other.jsonl"]) == 3
    assert "not an event of Offload's journal" in capsys.readouterr().err
