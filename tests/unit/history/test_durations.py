"""What the scheduler learns from a history."""

from __future__ import annotations

from pathlib import Path

import pytest

from offload_core.history import Entry, History, RecordedDurations, Sample, expected_secs

CONFIG = "offload.toml"


def entry(*ok: float, fail: tuple[float, ...] = (), failures: int = 0, attempts: int = 10) -> Entry:
    """An entry with such samples."""
    good, bad = ([Sample("r", number, secs) for number, secs in enumerate(each)] for each in (ok, fail))
    return Entry(attempts, failures, "r", good, bad)


@pytest.mark.parametrize(
    ("known", "secs"),
    [
        (entry(), None),
        (entry(3.0), 3.0),
        (entry(1.0, 9.0, 2.0, 3.0, 4.0), 4.0),
        (entry(fail=(5.0,), failures=10), 5.0),
        (entry(1.0, fail=(11.0,), failures=2), 3.0),
        (entry(1.0, fail=(11.0,), failures=20), 11.0),
        (entry(1.0, fail=(11.0,), failures=0, attempts=0), 1.0),
    ],
)
def test_expected(known: Entry, secs: float | None) -> None:
    """The third quartile of good and bad attempts, by how often it fails; the scheduler is told the same."""
    assert expected_secs(known) == (pytest.approx(secs) if secs is not None else None)
    history = History(Path("h"))
    history.put((CONFIG, "t"), known)
    assert RecordedDurations(history, CONFIG, {}, pytest.fail).get("t") == expected_secs(known)


def test_the_last_run_tells_of_what_the_history_does_not() -> None:
    """Of tests that are not there, that have no sample, or are another configuration's."""
    history = History(Path("h"))
    history.put((CONFIG, "a"), entry(1.0))
    history.put((CONFIG, "empty"), entry())
    history.put(("other.toml", "b"), entry(2.0))
    history.put((CONFIG, "newer"), Entry(1, 0, "r", ok=[Sample("r", 1, 4.0)], beside={"x": 1}))
    known = RecordedDurations(history, CONFIG, {"a": 7.0, "b": 8.0, "empty": 9.0}, pytest.fail)
    assert dict(known) == {"a": 1.0, "b": 8.0, "empty": 9.0, "newer": 4.0}
    assert len(known) == 4
    assert "nothing" not in known


@pytest.mark.parametrize("damage", ['"n":"1"', '"n":null', '"m":1'])
def test_a_damaged_entry_is_said_once_and_not_believed(damage: str) -> None:
    """The test is then as unknown as if it were not there; others are not looked at."""
    history = History(Path("h"))
    history.put((CONFIG, "bad"), entry(1.0, fail=(1.0,), attempts=1))
    history.put((CONFIG, "unseen"), entry(1.0))
    history.lines = {key: line.replace('"n":1,', f"{damage},") for key, line in history.lines.items()}
    history.lines[CONFIG, "unseen"] = '{"k":["offload.toml","unseen"],"v":{]}}'
    said: list[str] = []
    known = RecordedDurations(history, CONFIG, {"bad": 5.0}, said.append)
    assert [known["bad"], known["bad"]] == [5.0, 5.0]
    assert len(said) == 1
    assert "h: the entry of 'bad' is damaged" in said[0]


@pytest.mark.parametrize("secs", ["-1.0", "1e999", "NaN", '"1"', "[]"])
def test_a_duration_that_cannot_be_is_damage(secs: str) -> None:
    """No such number reaches the scheduler."""
    history = History(Path("h"))
    history.put((CONFIG, "bad"), entry(1.0))
    history.lines = {key: line.replace("1.0]", f"{secs}]") for key, line in history.lines.items()}
    said: list[str] = []
    assert "bad" not in RecordedDurations(history, CONFIG, {}, said.append)
    assert len(said) == 1
