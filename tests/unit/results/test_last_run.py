"""What the run before tells the next one."""

from __future__ import annotations

from pathlib import Path

from offload_core.abc import Outcome
from offload_core.events import Event, Interrupted, ModuleCollected, SandboxEnd
from offload_core.results.journal import encoded
from offload_core.results.last_run import read_last_run
from tests.support.synthetic import ended, found, run_of, sandbox, stamped


def journal(path: Path, *events: Event, exit_code: int | None = 0) -> None:
    """A journal of a run of group `unit`, cut where there is no exit code."""
    path.write_bytes(b"".join(encoded(each) for each in stamped(run_of(*events, exit_code=exit_code))))


def test_what_is_left_to_do(tmp_path: Path) -> None:
    """Failed, crashed and not run tests, and modules that did not collect, are to be run again; good ones are not."""
    journal(
        tmp_path / "events.jsonl",
        *[found(name) for name in ("good", "bad", "flaky", "crashed", "skipped", "lost", "never")],
        found("bad", "e2e"),
        ModuleCollected(key="m", group="unit", path="tests/test_b.py", failed=True, message="SyntaxError"),
        ended("good"),
        ended("bad", Outcome.FAILED),
        ended("bad", group="e2e"),
        ended("flaky", Outcome.FAILED, again=True),
        ended("flaky", number=2),
        ended("crashed", Outcome.CRASHED),
        ended("skipped", Outcome.SKIPPED),
        ended("lost", Outcome.LOST, again=True),
    )
    last = read_last_run(tmp_path)
    names = ["tests/test_b.py", *(f"tests/test_a.py::{name}" for name in ("bad", "crashed", "lost", "never"))]
    assert sorted(last.failed_in("unit")) == sorted(names)
    assert last.failed_in("e2e") == ()
    assert last.notes == ()


def test_a_run_that_was_cut_adds_the_one_before(tmp_path: Path) -> None:
    """After a run that did not end, the failures before it that it did not get to still stand."""
    journal(
        tmp_path / "events.previous.jsonl",
        *[found(name) for name in ("mended", "still", "fine")],
        ended("mended", Outcome.FAILED),
        ended("still", Outcome.FAILED),
        ended("fine"),
    )
    journal(tmp_path / "events.jsonl", found("mended"), found("fine"), ended("mended"), exit_code=None)
    assert set(read_last_run(tmp_path).failed_in("unit")) == {"tests/test_a.py::still", "tests/test_a.py::fine"}


def test_a_run_that_was_interrupted_counts_as_cut(tmp_path: Path) -> None:
    """So do they after Ctrl-C."""
    journal(tmp_path / "events.previous.jsonl", found("old"), ended("old", Outcome.FAILED))
    journal(tmp_path / "events.jsonl", found("new"), ended("new"), Interrupted(2), exit_code=130)
    assert read_last_run(tmp_path).failed_in("unit") == ("tests/test_a.py::old",)


def test_a_run_that_ended_stands_alone(tmp_path: Path) -> None:
    """After a run that ended, older failures are history, older durations are not."""
    journal(tmp_path / "events.previous.jsonl", found("old"), ended("old", Outcome.FAILED))
    journal(tmp_path / "events.jsonl", found("new"), ended("new"))
    last = read_last_run(tmp_path)
    assert last.failed == ()
    assert last.durations == {"tests/test_a.py::old": 0.5, "tests/test_a.py::new": 0.5}


def test_sandboxes(tmp_path: Path) -> None:
    """The most that were alive at once; a replacement is not one more."""
    journal(
        tmp_path / "events.jsonl",
        found("a"),
        *sandbox("box-2"),
        *sandbox("box-2", SandboxEnd.DEAD),
        *sandbox("box-3"),
        ended("a"),
    )
    assert read_last_run(tmp_path).sandboxes == 2


def test_nothing_is_known(tmp_path: Path) -> None:
    """The first run of all knows nothing, and says nothing of it."""
    last = read_last_run(tmp_path / "missing")
    assert (last.failed, last.durations, last.sandboxes, last.notes) == ((), {}, None, ())


def test_damage_is_noted(tmp_path: Path) -> None:
    """A journal that cannot be read is said, and the one before it serves."""
    (tmp_path / "events.jsonl").write_text("garbage\n")
    journal(tmp_path / "events.previous.jsonl", found("old"), ended("old", Outcome.FAILED))
    last = read_last_run(tmp_path)
    assert last.failed_in("unit") == ("tests/test_a.py::old",)
    assert len(last.notes) == 1


def test_a_journal_that_lacks_a_test_is_noted(tmp_path: Path) -> None:
    """A line that is gone from the middle is said, with what to do, and a run can go on."""
    journal(tmp_path / "events.jsonl", ended("a"), ended("a", number=2))
    last = read_last_run(tmp_path)
    assert last.failed == ()
    (note,) = last.notes
    assert "'unit/a', and the line that lists it is missing. Restore the file, or remove it" in note


def test_a_junit_report_serves(tmp_path: Path) -> None:
    """Without a journal, a JUnit report tells durations and failures, of whatever group."""
    (tmp_path / "results.xml").write_text(
        '<testsuites><testsuite><testcase name="a" time="2"/><testcase name="a" time="3"><failure/></testcase>'
        '<testcase name="b" time="1"/></testsuite></testsuites>'
    )
    last = read_last_run(tmp_path, "results.xml")
    assert last.durations == {"a": 3.0, "b": 1.0}
    assert last.failed_in("unit") == last.failed_in("e2e") == ("a",)
    (tmp_path / "results.xml").write_text("garbage")
    assert len(read_last_run(tmp_path, "results.xml").notes) == 1


def test_a_junit_report_with_odd_durations(tmp_path: Path) -> None:
    """What no duration can be is not used, so that a run can be planned by the rest."""
    (tmp_path / "junit.xml").write_text(
        '<testsuites><testsuite><testcase name="a" time="inf"/><testcase name="b" time="-3"><failure/></testcase>'
        '<testcase name="c" time="1"/></testsuite></testsuites>'
    )
    last = read_last_run(tmp_path)
    assert last.durations == {"c": 1.0}
    assert last.failed_in("unit") == ("b",)
