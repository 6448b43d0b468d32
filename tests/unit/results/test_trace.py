"""The trace: valid trace events whatever the run was like, spans that nest, and everything that happened in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve

from offload_core.abc import Outcome, SandboxRef
from offload_core.events import (
    ArtefactsCollected,
    AttemptDropped,
    DiscoveryFinished,
    DiscoveryStarted,
    Event,
    Incident,
    IncidentKind,
    Interrupted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    SessionEnded,
    SessionOpened,
    Stamped,
    TestBegan,
    TestNotRun,
    Warned,
)
from offload_core.results.trace import trace_json
from tests.support.synthetic import began, ended, found, run_of, stamped, started
from tests.support.trace_rules import check_trace


def trace_of(events: Iterable[Stamped]) -> list[dict[str, Any]]:
    """The trace's events, checked."""
    events = list(events)
    return check_trace("".join(trace_json(events)), until=max((each.at for each in events), default=0.0))


def spans(trace: list[dict[str, Any]], category: str) -> dict[str, tuple[float, float]]:
    """The spans of a category: seconds from and to, by name."""
    return {
        event["name"]: (event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6)
        for event in trace
        if event["ph"] == "X" and event["cat"] == category
    }


def opened(sandbox: str = "s1", number: int = 1) -> SessionOpened:
    """A session is up."""
    return SessionOpened(sandbox=sandbox, session=f"{sandbox}.{number}")


def over(sandbox: str = "s1", number: int = 1) -> SessionEnded:
    """A session has ended."""
    return SessionEnded(sandbox=sandbox, session=f"{sandbox}.{number}", complete=True)


def box(name: str = "s1") -> list[Event]:
    """A sandbox that is ready."""
    return [SandboxStarting(sandbox=name), SandboxReady(sandbox=name, ref=SandboxRef(id=f"id-{name}"))]


WHOLE: list[Event] = [
    started(),
    PrepareStarted(provider="docker"),
    DiscoveryStarted(group="unit"),
    found("a"),
    found("b"),
    DiscoveryFinished(group="unit", count=2),
    PrepareFinished(image_id="image"),
    *box(),
    opened(),
    began("a", sandbox="s1"),
    ended("a"),
    began("b", sandbox="s1"),
    Incident(kind=IncidentKind.SANDBOX_DEAD, reason="gone", sandbox="s1", suspects=("unit/b",), requeued=("unit/b",)),
    ended("b", Outcome.LOST, again=True),
    *box("s2"),
    SandboxEnded(sandbox="s1", how=SandboxEnd.DEAD, reason="gone"),
    opened("s2"),
    began("b", number=2, sandbox="s2"),
    ended("b", number=2),
    over("s2"),
    ArtefactsCollected(sandbox="s2", session="s2.1", files=("s2/s2.1/x",), size=1, seconds=0.05),
    SandboxEnded(sandbox="s2", how=SandboxEnd.TERMINATED),
    Warned("mind this"),
    RunFinished(exit_code=0),
]


def test_what_is_there() -> None:
    """The names of older traces where they mean something, and a span for each thing that took time."""
    trace = trace_of(stamped(WHOLE))
    assert spans(trace, "host").keys() == {"run", "image_prepare", "discovery", "sandbox_pool_create"}
    assert spans(trace, "orchestrator").keys() == {"sandbox_cleanup"}
    assert spans(trace, "sandbox").keys() == {"sandbox", "create"}
    assert spans(trace, "exec").keys() == {"session_start", "s1.1", "s2.1"}
    assert spans(trace, "test").keys() == {"tests/test_a.py::a", "tests/test_a.py::b"}
    assert spans(trace, "io").keys() == {"download_artefacts"}
    names = {(event["pid"], event["args"]["name"]) for event in trace if event["name"] == "process_name"}
    assert names == {(0, "Offload (Local)"), (1, "Sandbox s1"), (2, "Sandbox s2")}
    lanes = {event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    assert {"Main", "API", "Exec", "I/O", "Discovery of unit"} <= lanes
    instants = {event["name"]: event for event in trace if event["ph"] == "i"}
    assert instants.keys() == {"sandbox_dead", "warning"}
    assert (instants["sandbox_dead"]["pid"], instants["sandbox_dead"]["s"]) == (1, "p")
    assert instants["sandbox_dead"]["args"]["suspects"] == ["tests/test_a.py::b"]


def test_a_dead_sandbox_ends_its_spans_when_it_died() -> None:
    """Not when its test was judged, nor when it had been cleared away."""
    died = WHOLE.index(next(event for event in WHOLE if isinstance(event, Incident))) / 10
    trace = trace_of(stamped(WHOLE))
    assert spans(trace, "exec")["s1.1"][1] == died
    lost = next(event for event in trace if event["args"].get("outcome") == "lost")
    assert (lost["ts"] + lost["dur"]) / 1e6 == died


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_run_that_was_cut(length: int) -> None:
    """Wherever the journal ends, the trace is whole, and says what had not ended."""
    trace = trace_of(stamped(WHOLE[:length]))
    unfinished = [event["name"] for event in trace if event["args"].get("unfinished")]
    assert ("run" in unfinished) == (0 < length < len(WHOLE))


def test_outcomes_that_are_told_late() -> None:
    """A crash is judged when the next session is up; a module's tests are timed out when their session is over."""
    events = [
        *box(),
        found("a"),
        found("b"),
        found("c"),
        opened(),
        began("a", sandbox="s1"),
        over(),
        opened(number=2),
        ended("a", Outcome.CRASHED),
        over(number=2),
        began("b", sandbox="s1"),
        began("c", sandbox="s1"),
        ended("b", Outcome.TIMED_OUT),
        ended("c", Outcome.TIMED_OUT),
        opened(number=3),
        began("a", number=2, sandbox="s1"),
        over(number=3),
        AttemptDropped(test="unit/a", number=2),
        TestNotRun(test="unit/a", reason="over"),
        Interrupted(signal=2),
    ]
    trace = trace_of(stamped([started(), *events]))
    tests = [event for event in trace if event["cat"] == "test"]
    assert [event["args"]["outcome"] for event in tests] == ["crashed", "timed_out", "timed_out", "dropped"]
    assert [event["dur"] for event in tests] == [100_000, 0, 0, 100_000]


def test_hostile_names() -> None:
    """Control characters, markup and halves of characters neither break the file nor get into names."""
    hostile = 'a["\\\n\x1b[31m</script>\ud800\u2028]'
    test = found(hostile)
    events = run_of(
        test, *box(hostile), TestBegan(test=test.test.key, number=1, sandbox=hostile, session="x"), Warned(hostile)
    )
    trace = trace_of(stamped([*events, evolve(ended(hostile), again=False)]))
    assert all(ord(c) >= 32 for event in trace for c in event["name"])
    text = "".join(trace_json(stamped(events)))
    assert text.isascii()


def test_many_sandboxes() -> None:
    """Two thousand tests on fifty sandboxes at once: still one lane each."""
    names = [f"t{number}" for number in range(2000)]
    events: list[Event] = [started(), *map(found, names)]
    for number in range(1, 51):
        events += [*box(f"s{number}"), opened(f"s{number}")]
    for start in range(0, 2000, 50):
        batch = names[start : start + 50]
        events += [began(name, sandbox=f"s{number}") for number, name in enumerate(batch, 1)]
        events += [ended(name) for name in batch]
    trace = trace_of(stamped(events))
    assert sum(event["cat"] == "test" for event in trace) == 2000
    assert {event["pid"] for event in trace if event["cat"] == "test"} == set(range(1, 51))


@pytest.mark.parametrize("number", [2, 30, 100])
def test_tests_that_run_at_once(number: int) -> None:
    """Each has a lane as long as it runs, and lanes are used again; past a bound only the ends of tests are marked."""
    names = [f"t{each}" for each in range(number)]
    one_by_one = [f"u{each}" for each in range(3)]
    events: list[Event] = [started(), *map(found, [*names, *one_by_one]), *box(), opened()]
    events += [began(name, sandbox="s1") for name in names]
    events += [ended(name) for name in names]
    for name in one_by_one:
        events += [began(name, sandbox="s1"), ended(name)]
    trace = trace_of(stamped(events))
    tests = [event for event in trace if event["cat"] == "test"]
    assert len(tests) == number + 3
    lanes = [event["tid"] for event in tests if event["ph"] == "X"]
    assert len(lanes) == min(number, 62) + 3
    assert len(set(lanes)) == min(number, 62)
    assert lanes[-3:] == [1, 1, 1]
