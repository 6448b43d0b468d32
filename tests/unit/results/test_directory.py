"""The output directory: held by one run, and harmless wherever it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from offload_core.errors import ConfigError, ReportError
from offload_core.events import Event
from offload_core.results.directory import LOCK, MANIFEST, OutputDirectory
from offload_core.results.journal import JournalWriter
from tests.support.synthetic import ended, found, run_of, stamped, started

HOLD = """
import sys
from pathlib import Path
from offload_core.results.directory import OutputDirectory
with OutputDirectory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def run_in(path: Path, *events: Event, other: tuple[str, ...] = ()) -> list[str]:
    """What a run does there: a journal and other files. Returns what `begin` noted."""
    with OutputDirectory(path) as directory:
        notes = directory.begin()
        writer = JournalWriter(directory.claim("events.jsonl"), [])
        for each in stamped(events or run_of(found("a"), ended("a"))):
            writer(each)
        writer.close()
        for name in other:
            directory.write(name, ["by offload"])
    return notes


def files(path: Path) -> dict[str, bytes]:
    """Every file below `path` but the lock and the manifest."""
    return {
        str(each.relative_to(path)): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file() and each.name not in (LOCK, MANIFEST)
    }


def test_another_run_is_refused(tmp_path: Path) -> None:
    """While a process holds the directory, a second one is told; when the first is killed, the next one gets it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another `offload run` is writing to"), OutputDirectory(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with OutputDirectory(tmp_path):
        pass


def test_the_journal_is_rotated(tmp_path: Path) -> None:
    """A new run finds the last one's journal as `events.previous.jsonl`, and nothing else of it."""
    run_in(tmp_path, *run_of(found("first"), ended("first")), other=("junit.xml", "summary.json", "logs/a.s1.log"))
    with OutputDirectory(tmp_path) as directory:
        assert directory.begin() == []
    assert files(tmp_path).keys() == {"events.previous.jsonl"}
    run_in(tmp_path, *run_of(found("second"), ended("second")))
    run_in(tmp_path, *run_of(found("third"), ended("third")))
    left = files(tmp_path)
    assert b"second" in left["events.previous.jsonl"]
    assert b"third" in left["events.jsonl"]


def test_a_run_without_results_does_not_push_out_the_one_before(tmp_path: Path) -> None:
    """A journal in which no test ended is dropped, because it tells the next run nothing."""
    run_in(tmp_path, *run_of(found("first"), ended("first")))
    run_in(tmp_path, started(), found("second"))
    run_in(tmp_path, *run_of(found("third"), ended("third")))
    assert b"first" in files(tmp_path)["events.previous.jsonl"]


def test_the_project_itself_is_safe(tmp_path: Path) -> None:
    """With the project as output directory, every file of it is still there after several runs."""
    mine = {"src/a.py": b"a", "summary.json": b"{}", "events.jsonl": b"mine", "logs/app.log": b"log", "junit.txt": b""}
    for name, content in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    notes = run_in(tmp_path, other=("junit.xml", "summary.json", "logs/box.s1.log"))
    assert len(notes) == 2  # the two whose names Offload needs were renamed, and that is said
    run_in(tmp_path, other=("junit.xml", "summary.json"))
    left = files(tmp_path)
    assert {**mine, "summary.json.kept": b"{}", "events.jsonl.kept": b"mine"}.items() - left.items() == {
        ("summary.json", b"{}"),
        ("events.jsonl", b"mine"),
    }
    assert "logs/box.s1.log" not in left


def test_a_journal_from_a_cache_is_our_own(tmp_path: Path) -> None:
    """A journal that was brought back without the manifest, as a CI cache does, is rotated as usual."""
    run_in(tmp_path)
    (tmp_path / MANIFEST).unlink()
    assert run_in(tmp_path) == []
    assert (tmp_path / "events.previous.jsonl").exists()


def test_the_junit_file_is_overwritten(tmp_path: Path) -> None:
    """A JUnit report of another tool stands where this one is wanted; it is replaced, and not before."""
    (tmp_path / "junit.xml").write_text("old")
    with OutputDirectory(tmp_path) as directory:
        assert directory.begin() == []
        assert (tmp_path / "junit.xml").read_text() == "old"
        directory.write("junit.xml", ["new"])
    assert (tmp_path / "junit.xml").read_text() == "new"


def test_a_manifest_cannot_reach_outside(tmp_path: Path) -> None:
    """A manifest that was tampered with removes nothing elsewhere: by `..`, an absolute path, or through a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    victims = [outside / name for name in ("a", "b", "c")]
    for victim in victims:
        victim.write_text("precious")
    output = tmp_path / "output"
    run_in(output)
    (output / "link").symlink_to(outside)
    (output / MANIFEST).write_text(f"../outside/a\n{victims[1]}\nlink/c\n")
    run_in(output)
    assert all(victim.read_text() == "precious" for victim in victims)


def test_a_report_outside_is_written_and_never_removed(tmp_path: Path) -> None:
    """A `junit_file` above the output directory is written there, and the next run leaves it alone."""
    run_in(tmp_path / "output", other=("../junit.xml",))
    assert (tmp_path / "junit.xml").read_text() == "by offload"
    run_in(tmp_path / "output")
    assert (tmp_path / "junit.xml").exists()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_not_a_directory(tmp_path: Path, name: str) -> None:
    """A file where the directory should be is an error in words that names the key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"\[report\] output_dir\) cannot be used: it is, or lies below, a file"):
        OutputDirectory(tmp_path / name).__enter__()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that refuses everybody")
def test_not_writable() -> None:
    """So is a directory that cannot be made, even for root."""
    with pytest.raises(ConfigError, match=r"cannot be used: "):
        OutputDirectory(Path("/proc/self/test-results")).__enter__()


def test_a_report_is_whole_or_not_there(tmp_path: Path) -> None:
    """When writing fails in the middle, the file of that name is what it was before, and no draft is left."""

    def half() -> Iterator[str]:
        yield "half"
        raise OSError(28, "No space left on device")

    with OutputDirectory(tmp_path) as directory:
        directory.begin()
        directory.write("junit.xml", ["whole"])
        with pytest.raises(ReportError, match="No space"):
            directory.write("junit.xml", half())
    assert files(tmp_path) == {"junit.xml": b"whole"}


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """A directory in the way of a report is a `ReportError` in words."""
    with OutputDirectory(tmp_path) as directory:
        directory.begin()
        (tmp_path / "junit.xml").mkdir()
        with pytest.raises(ReportError, match=r"junit\.xml could not be written: Is a directory"):
            directory.write("junit.xml", ["x"])
