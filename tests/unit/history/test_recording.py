"""What a run adds to the history."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest
from attrs import evolve

from offload_core.abc import Outcome
from offload_core.errors import ReportError
from offload_core.events import AttemptAmended, AttemptDropped, Event, ModuleCollected, RunStarted, TestNotRun
from offload_core.history import Entry, read_history, record_run
from tests.support.synthetic import accounted, ended, found, run_of, started

CONFIG = "offload.toml"
EPOCH_MS = 1_700_000_000_000


def recorded(path: Path, *events: Event, size: int = 20) -> dict[str, Entry]:
    """Record a run and read the history back, by the names of tests."""
    record_run(path, CONFIG, accounted(*run_of(*events)), size)
    history = read_history(path)
    assert history.problems == []
    return {key[1].partition("::")[2]: history.entry(key) for key in history.lines}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history is to be."""
    return tmp_path / "offload-history.jsonl"


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Outcome.PASSED, (1, 0)),
        (Outcome.XFAILED, (1, 0)),
        (Outcome.XPASSED, (1, 0)),
        (Outcome.FAILED, (1, 1)),
        (Outcome.ERROR, (1, 1)),
        (Outcome.TIMED_OUT, (1, 1)),
        (Outcome.CRASHED, (1, 1)),
        (Outcome.SKIPPED, None),
        (Outcome.LOST, None),
    ],
)
def test_outcomes(path: Path, outcome: Outcome, counts: tuple[int, int] | None) -> None:
    """What a test did is counted, and its duration kept; what infrastructure did, or nobody, is not."""
    entries = recorded(path, found("t"), found("other"), ended("t", outcome), ended("other"))
    assert ("t" in entries) == (counts is not None)
    if counts is not None:
        entry = entries["t"]
        assert (entry.attempts, entry.failures) == counts == (len(entry.ok + entry.fail), len(entry.fail))
        assert [(each.at, each.secs) for each in entry.ok + entry.fail] == [(EPOCH_MS + 1000, 0.5)]


def test_every_attempt_counts_and_has_a_time_of_its_own(path: Path) -> None:
    """Of a flaky test, and of one in two groups; the older tool takes samples of the same time for one."""
    entries = recorded(
        path,
        found("flaky"),
        found("flaky", "e2e"),
        ended("flaky", Outcome.FAILED, again=True),
        ended("flaky", Outcome.LOST, number=2, again=True),
        ended("flaky", number=3),
        ended("flaky", group="e2e"),
    )
    entry = entries["flaky"]
    assert (entry.attempts, entry.failures, len(entry.ok), len(entry.fail)) == (3, 1, 2, 1)
    assert len({each.at for each in entry.ok + entry.fail}) == 3
    assert {each.run for each in entry.ok + entry.fail} == {entry.last_run}
    assert re.fullmatch(r"[0-9A-Za-z]{4}", entry.last_run)


def test_what_did_not_count_in_the_run_does_not_here(path: Path) -> None:
    """A hedge that came second, a module that did not collect, a test that was not run; a late error counts as one."""
    entries = recorded(
        path,
        found("hedged"),
        found("late"),
        found("never"),
        ModuleCollected(key="m", group="unit", path="tests/test_b.py", failed=True, message="SyntaxError"),
        ended("hedged"),
        ended("hedged", Outcome.FAILED, number=2),
        AttemptDropped(test="unit/hedged", number=2),
        ended("late"),
        AttemptAmended(test="unit/late", number=1, message="teardown"),
        TestNotRun(test="unit/never", reason="stopped"),
    )
    assert {name: (entry.attempts, entry.failures) for name, entry in entries.items()} == {
        "hedged": (1, 0),
        "late": (1, 1),
    }


def test_runs_add_up_and_samples_are_bounded(path: Path) -> None:
    """Counters go on for ever; of good and bad attempts each the configured number is kept."""
    for number in range(12):
        bad = number % 3 == 0
        outcome = Outcome.FAILED if bad else Outcome.PASSED
        events = run_of(found("t"), ended("t", outcome))
        start = events[0]
        assert isinstance(start, RunStarted)
        events[0] = evolve(start, run_id=f"run-{number}", epoch=start.epoch + 60 * number)
        assert record_run(path, CONFIG, accounted(*events), 3)
    (line,) = path.read_text("utf-8").splitlines()
    entry = read_history(path).entry((CONFIG, "tests/test_a.py::t"))
    assert (entry.attempts, entry.failures, len(entry.ok), len(entry.fail)) == (12, 4, 3, 3)
    assert entry.newest == EPOCH_MS + 11 * 60_000 + 1000
    assert line.startswith('{"k":["offload.toml","tests/test_a.py::t"],"v":{"n":12,"f":4,"last_run":"')


def test_an_odd_duration_does_not_spoil_the_history(path: Path) -> None:
    """However long an attempt says it took: the entry can be read, and added to, again and again."""
    odd = ended("t")
    for duration in (1e300, 1e9, 0.5):
        entries = recorded(path, found("t"), evolve(odd, attempt=evolve(odd.attempt, duration=duration)))
    assert [each.secs for each in entries["t"].ok] == [1e9, 1e9, 0.5]


def test_nothing_to_add_is_no_file(path: Path) -> None:
    """A run of skipped tests writes nothing."""
    assert not record_run(path, CONFIG, accounted(*run_of(found("t"), ended("t", Outcome.SKIPPED))), 20)
    assert not path.exists()


@pytest.mark.parametrize("damage", ["garbage\n", "<<<<<<< HEAD\n"])
def test_a_damaged_history_is_not_added_to(path: Path, damage: str) -> None:
    """It is said what is wrong, and the file stays."""
    recorded(path, found("t"), ended("t"))
    text = path.read_text("utf-8") + damage
    path.write_text(text, "utf-8")
    with pytest.raises(ReportError, match=r"line 2.*nothing was written"):
        recorded(path, found("t"), ended("t"))
    assert path.read_text("utf-8") == text


def _record_many(path: Path, runs: range) -> None:
    for number in runs:
        events = [evolve(started(), run_id=f"run-{number}", epoch=float(number)), *run_of(found("t"), ended("t"))[1:]]
        record_run(path, CONFIG, accounted(*events), 100)


def test_runs_that_record_at_once_lose_nothing(path: Path) -> None:
    """Four processes, ten runs each, one file; the lock is gone in the end."""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_record_many, args=(path, range(first, first + 10))) for first in range(0, 40, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    entry = read_history(path).entry((CONFIG, "tests/test_a.py::t"))
    assert (entry.attempts, len(entry.ok)) == (40, 40)
    assert sorted(each.at for each in entry.ok) == [1000 * number + 1000 for number in range(40)]
    assert [each.name for each in path.parent.iterdir()] == [path.name]
