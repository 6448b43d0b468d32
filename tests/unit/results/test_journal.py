"""The journal: what is written can be read, by this version and by others."""

from __future__ import annotations

import json
import os
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from offload_core.abc import Outcome
from offload_core.errors import ReportError
from offload_core.events import (
    AttemptFinished,
    Bus,
    Event,
    LogLine,
    PrepareProgress,
    RunFinished,
    RunStarted,
    Stamped,
    TestDiscovered,
    Warned,
)
from offload_core.results.journal import EVENTS, NOT_IN_JOURNAL, JournalWriter, encoded, read_journal
from tests.support.synthetic import began, ended, found, run_of, stamped, started

AWKWARD = 'a "b" \\ \n\r\t \x1b[31m \x00 é 漢 🎉 \udc80 </x> \u2028'


def instance(kind: Any) -> Any:
    """A value of a type, with every field filled and no default left."""
    if kind is str:
        return AWKWARD
    if kind in (int, float, bool):
        return {int: 7, float: 1.25, bool: True}[kind]
    if attrs.has(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{each.alias: instance(hints[each.name]) for each in attrs.fields(kind) if each.init})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)[-1]
    if typing.get_origin(kind) is tuple:
        inner = [each for each in typing.get_args(kind) if each is not Ellipsis]
        return tuple(instance(each) for each in inner) * (2 if Ellipsis in typing.get_args(kind) else 1)
    if isinstance(kind, types.UnionType):
        return instance(typing.get_args(kind)[0])
    raise AssertionError(f"no example for {kind}")


def example(name: str) -> Event:
    """An event of this class; `RunStarted` in the format of this version."""
    event: Event = instance(EVENTS[name])
    return attrs.evolve(event, schema=started().schema) if isinstance(event, RunStarted) else event


def write(path: Path, *events: Event) -> list[ReportError]:
    """Write a journal; returns what failed."""
    failures: list[ReportError] = []
    writer = JournalWriter(path, failures)
    for each in stamped(events):
        writer(each)
    writer.close()
    return failures


@pytest.mark.parametrize("name", sorted(EVENTS.keys() - {kind.__name__ for kind in NOT_IN_JOURNAL}))
def test_round_trip(tmp_path: Path, name: str) -> None:
    """Every event comes back as it was, with any text in it: controls, line breaks, lone surrogates."""
    path = tmp_path / "events.jsonl"
    events = stamped([example("RunStarted"), example(name)])
    failures: list[ReportError] = []
    writer = JournalWriter(path, failures)
    for each in events:
        writer(each)
    writer.close()
    assert failures == []
    assert list(read_journal(path)) == events
    assert len(path.read_bytes().splitlines()) == 2


def test_a_line_is_a_flat_object(tmp_path: Path) -> None:
    """A line is one JSON object with the time, the event's name and its fields; the first tells the format."""
    path = tmp_path / "events.jsonl"
    write(path, *run_of(found("a"), ended("a")))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert list(lines[0])[:3] == ["at", "event", "schema"]
    finished = next(line for line in lines if line["event"] == "AttemptFinished")
    assert finished["attempt"]["outcome"] == "passed"
    assert finished["at"] > 0


def test_every_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    """What has happened is on disk before the next event, so that a killed run can be read."""
    path = tmp_path / "events.jsonl"
    writer = JournalWriter(path, [])
    for number, each in enumerate(stamped(run_of(found("a"), ended("a"))), 1):
        writer(each)
        assert len(list(read_journal(path))) == number
    writer.close()


def test_output_is_left_out(tmp_path: Path) -> None:
    """Log lines and the image build's output are not in the journal."""
    path = tmp_path / "events.jsonl"
    write(path, started(), LogLine(sandbox="a", session="b", line="x"), PrepareProgress("y"), RunFinished(exit_code=0))
    assert [type(each.event) for each in read_journal(path)] == [RunStarted, RunFinished]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_a_cut_last_line_is_skipped(tmp_path: Path, keep: float) -> None:
    """A journal that ends in the middle of a line gives all before it, and a note."""
    path = tmp_path / "events.jsonl"
    events = run_of(found("a"), ended("a", text="x" * 100))
    whole = b"".join(encoded(each) for each in stamped(events))
    last = encoded(Stamped(9.0, events[-1]))
    path.write_bytes(whole + last[: int(len(last) * keep)])
    notes: list[str] = []
    assert len(list(read_journal(path, notes.append))) == len(events)
    assert "cut short" in notes[0]


def test_what_a_newer_minor_adds_is_ignored(tmp_path: Path) -> None:
    """Unknown events, fields and values of enumerations do not stop a reader; the last is said."""
    path = tmp_path / "events.jsonl"
    first = json.loads(encoded(Stamped(0.0, started())))
    odd = json.loads(encoded(Stamped(0.2, ended("a"))))
    odd["attempt"]["outcome"] = "mysterious"
    lines = [
        {**first, "new_field": {"deep": 1}},
        {"at": 0.1, "event": "SandboxPainted", "color": "red"},
        odd,
        json.loads(encoded(Stamped(0.3, RunFinished(exit_code=0)))),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    notes: list[str] = []
    assert [type(each.event) for each in read_journal(path, notes.append)] == [RunStarted, RunFinished]
    assert len(notes) == 1
    assert "mysterious" in notes[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"at":0.0,"event":"RunStarted","schema":99,"offload":"9.9"}\n', "Upgrade Offload"),
        ('{"at":0.0,"event":"TestBegan"}\n', "not a journal"),
        ('{"some": "json"}\n', "line 1: not an event"),
        ("hello\n", "line 1: not an event"),
        ("[1, 2]\n", "line 1: not an event"),
        (encoded(Stamped(0.0, started())).decode() + "garbage\n{}\n", "line 2: not an event"),
        (encoded(Stamped(0.0, started())).decode() + '{"at":1,"event":"TestBegan"}\n', "line 2: TestBegan is damaged"),
    ],
)
def test_what_cannot_be_read_is_an_error_in_words(tmp_path: Path, content: str, said: str) -> None:
    """A newer format, damage, and files that are no journal each say so."""
    path = tmp_path / "events.jsonl"
    path.write_text(content)
    with pytest.raises(ReportError, match=said):
        list(read_journal(path))


def test_no_journal(tmp_path: Path) -> None:
    """A journal that is not there, and one that is a directory, are errors in words."""
    with pytest.raises(ReportError, match="there is no journal"):
        list(read_journal(tmp_path / "events.jsonl"))
    with pytest.raises(ReportError, match="could not be read"):
        list(read_journal(tmp_path))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - not a path of ours
def test_a_full_disk_is_one_failure() -> None:
    """A journal that cannot be written says so once, and never raises."""
    failures = write(Path("/dev/full"), *run_of(found("a"), began("a"), ended("a")))
    assert [str(failure) for failure in failures] == ["/dev/full could not be written: No space left on device"]


def test_a_journal_that_cannot_be_opened_is_one_failure(tmp_path: Path) -> None:
    """So does one that cannot even be opened."""
    failures = write(tmp_path / "missing" / "events.jsonl", *run_of())
    assert len(failures) == 1
    assert "could not be written" in str(failures[0])


def test_a_large_event(tmp_path: Path) -> None:
    """A failure of many megabytes is one line and comes back whole."""
    path = tmp_path / "events.jsonl"
    event = ended("a", Outcome.FAILED, text="é" * 5_000_000)
    write(path, started(), found("a"), event)
    read = list(read_journal(path))
    assert isinstance(read[1].event, TestDiscovered)
    assert isinstance(read[2].event, AttemptFinished)
    assert read[2].event == event


def test_times_are_those_that_consumers_saw(tmp_path: Path) -> None:
    """What is made from events as they come and what is made from the journal later cannot differ by a rounding."""
    seen: list[Stamped] = []
    times = iter([0.0, 1.0004994999, 2.00049950049])
    bus = Bus(clock=lambda: next(times), consumers=[seen.append, JournalWriter(tmp_path / "events.jsonl", [])])
    for event in (started(), Warned("one"), Warned("two")):
        bus.emit(event)
    assert [each.at for each in read_journal(tmp_path / "events.jsonl")] == [each.at for each in seen]
