"""The history file: read line by line, written as a whole, and never at the cost of what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from offload_core.errors import ReportError
from offload_core.history import Entry, Sample, locked, read_history, write_history
from offload_core.history.entry import decode, encode

CONFIG = "offload.toml"
CONFLICTED = "<<<<<<< HEAD\n{ours}\n||||||| base\n=======\n{theirs}\n>>>>>>> branch\n"


def line(test: str, attempts: int = 1, config: str = CONFIG) -> str:
    """An entry with as many samples as attempts."""
    ok = [Sample("aKx7", number, 0.5) for number in range(attempts)]
    return encode((config, test), Entry(attempts, 0, "aKx7", ok=ok))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history is to be."""
    return tmp_path / "offload-history.jsonl"


def test_no_file_is_an_empty_history(path: Path) -> None:
    """The first run has none."""
    assert read_history(path).lines == {}
    assert read_history(path).problem == ""


def test_it_is_sorted_and_what_nobody_touched_is_as_it_was(path: Path) -> None:
    """By configuration, then id; a line that is not spelled as here stays so; nothing else is left in the directory."""
    strange = '{ "v": {"n":1,"f":0,"last_run":"x","ok":[],"fail":[]}, "k": ["offload.toml","m"] }'
    path.write_text("\n".join([line("z"), strange, "", line("ü"), line("a", config="b.toml")]) + "\r\n", "utf-8")
    with locked(path):
        history = read_history(path)
        assert history.problems == []
        history.put((CONFIG, "b"), Entry(last_run="new"))
        write_history(history)
    written = path.read_text("utf-8").splitlines()
    assert [decode(each)[0] for each in written] == [("b.toml", "a"), *((CONFIG, id) for id in "bmzü")]
    assert written[2] == strange
    assert list(path.parent.iterdir()) == [path]


def test_a_link_and_the_mode_stay(path: Path) -> None:
    """What is replaced is the file that the link leads to."""
    real = path.with_name("real")
    real.write_text(line("a") + "\n", "utf-8")
    real.chmod(0o640)
    path.symlink_to(real)
    with locked(path):
        history = read_history(path)
        history.put((CONFIG, "b"), Entry())
        write_history(history)
    assert path.is_symlink()
    assert (real.stat().st_mode & 0o777, len(read_history(real).lines)) == (0o640, 2)


def test_a_test_that_stands_twice_is_one(path: Path) -> None:
    """As a text merge that takes both sides leaves it: no sample is lost, and none counts twice."""
    path.write_text("\n".join([line("a", 3), line("b"), line("a", 5)]) + "\n", "utf-8")
    history = read_history(path)
    entry = history.entry((CONFIG, "a"))
    assert (len(history.lines), entry.attempts, len(entry.ok)) == (2, 5, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"garbage\n", "line 2: not an entry of a history: Expecting value"),
        (line("b")[:50].encode(), "line 2: not an entry of a history"),
        (line("b")[:-1].encode(), "line 2: not an entry of a history"),
        (line("b").replace('"b"', '"\xff"').encode("latin-1"), "line 2: not an entry of a history: not UTF-8"),
        (b"\0" * 100, "line 2: not an entry"),
        (CONFLICTED.format(ours=line("b"), theirs=line("c")).encode(), "line 2: the mark of a merge conflict"),
        (line("a", 1).replace('"ok":[["aKx7"', '"ok":[[7').encode(), 'line 2: not an entry of a history: "ok" is not'),
    ],
    ids=["garbage", "truncated", "nearly whole", "not UTF-8", "zeros", "conflict", "twice and damaged"],
)
def test_damage_is_said_and_never_lost(path: Path, text: bytes, words: str) -> None:
    """The rest is read, the problem names its line, and writing is refused: the file stays as it is."""
    before = f"{line('a')}\n".encode() + text
    path.write_bytes(before)
    history = read_history(path)
    assert (CONFIG, "a") in history.lines
    assert f"{path}, {words}" in history.problem
    with locked(path), pytest.raises(ReportError, match="nothing was written to it"):
        write_history(history)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_damage_inside_a_line_is_said_when_it_is_decoded(path: Path) -> None:
    """Reading looks only for keys; what nobody asks for is written back as it was."""
    damaged = line("b").replace('"n":1', '"n":"1"')
    path.write_text(f"{line('a')}\n{damaged}\n", "utf-8")
    history = read_history(path)
    assert history.problems == []
    with pytest.raises(ReportError, match=r"the entry of 'b' is damaged: \"n\" is not a number.*Remove that line"):
        history.entry((CONFIG, "b"))
    write_history(history)
    assert damaged in path.read_text("utf-8")


def test_a_path_that_is_no_file_is_an_error_in_words(path: Path) -> None:
    """To read, to lock and to write."""
    path.mkdir()
    with pytest.raises(ReportError, match="could not be read: Is a directory"):
        read_history(path)
    history = read_history(path.with_name("none"))
    history.path = path
    with pytest.raises(ReportError, match="could not be written"):
        write_history(history)
    blocked = path.with_name("file")
    blocked.write_text("", "utf-8")
    with pytest.raises(ReportError, match="could not be locked"), locked(blocked / "history"):
        pass
