"""What attempts make of a test, and tests of a run."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from offload_core.abc import Outcome, State
from offload_core.events import (
    AttemptAmended,
    AttemptDropped,
    DiscoveryFinished,
    Event,
    Incident,
    IncidentKind,
    Interrupted,
    LogLine,
    ModuleCollected,
    SandboxEnd,
    SandboxStarting,
    TestNotRun,
)
from offload_core.results.accounting import Accounting, ExitCode, exit_code
from tests.support.synthetic import accounted, began, ended, found, sandbox, started

O = Outcome  # noqa: E741 - the table below reads as a table
CASES = [
    ([], State.NOT_RUN),
    ([O.LOST], State.NOT_RUN),
    ([O.PASSED], State.PASSED),
    ([O.LOST, O.PASSED], State.PASSED),
    ([O.PASSED, O.LOST], State.PASSED),
    ([O.FAILED], State.FAILED),
    ([O.FAILED, O.PASSED], State.FLAKY),
    ([O.CRASHED, O.PASSED], State.FLAKY),
    ([O.FAILED, O.SKIPPED], State.FLAKY),
    ([O.ERROR, O.XFAILED], State.FLAKY),
    ([O.FAILED, O.LOST], State.FAILED),
    ([O.FAILED, O.TIMED_OUT], State.TIMED_OUT),
    ([O.LOST, O.CRASHED], State.CRASHED),
    ([O.SKIPPED], State.SKIPPED),
    ([O.XFAILED], State.XFAILED),
    ([O.XPASSED], State.XPASSED),
]


def attempts(outcomes: list[Outcome]) -> list[Event]:
    """The attempts at test `a` with these outcomes."""
    return [ended("a", outcome, number=number) for number, outcome in enumerate(outcomes, 1)]


@pytest.mark.parametrize(("outcomes", "state"), CASES)
def test_state(outcomes: list[Outcome], state: State) -> None:
    """The last attempt that says something decides; a good one after a bad one is flaky, however good."""
    accounting = accounted(found("a"), *attempts(outcomes))
    assert accounting.records["unit/a"].state is state
    assert accounting.counts() == Counter({state: 1})


def test_a_failure_that_is_run_again_is_not_a_verdict() -> None:
    """`again` keeps a test undecided until an attempt that is its verdict."""
    first: list[Event] = [found("a", retries=1), ended("a", O.FAILED, again=True)]
    assert accounted(*first).decided == 0
    assert accounted(*first).verdicts() == Counter()
    assert accounted(*first, ended("a", number=2)).verdicts() == Counter({State.FLAKY: 1})
    assert accounted(*first, TestNotRun(test="unit/a", reason="stopped")).verdicts() == Counter({State.FAILED: 1})


def test_an_amended_attempt_is_an_error() -> None:
    """A teardown failure turns a good attempt into an error, and adds to a bad one without changing its outcome."""
    late = AttemptAmended(test="unit/a", number=1, message="teardown failed", details="boom")
    record = accounted(found("a"), ended("a"), late).records["unit/a"]
    assert (record.state, record.attempts[0].message, record.attempts[0].details) == (
        State.ERROR,
        "teardown failed",
        "boom",
    )
    record = accounted(found("a"), ended("a", O.FAILED, text="no"), late).records["unit/a"]
    assert (record.state, record.attempts[0].message) == (State.FAILED, "no")
    assert record.attempts[0].details.endswith("boom")


def test_an_amended_attempt_still_waits_for_the_next() -> None:
    """A teardown failure after an attempt that is retried anyway does not make it a verdict."""
    late = AttemptAmended(test="unit/a", number=1, message="teardown failed")
    accounting = accounted(found("a", retries=1), ended("a", O.FAILED, again=True), late)
    assert accounting.decided == 0


def test_a_dropped_attempt_does_not_count() -> None:
    """The outcome of a hedge that came second changes nothing."""
    accounting = accounted(
        found("a"), ended("a"), ended("a", O.FAILED, number=2), AttemptDropped(test="unit/a", number=2)
    )
    assert accounting.records["unit/a"].state is State.PASSED
    assert len(accounting.records["unit/a"].attempts) == 1


def test_counts_are_those_of_the_records() -> None:
    """Counts kept up to date by events are what counting the records anew gives, after any sequence of events."""
    chance = random.Random(7)
    accounting = Accounting()
    names = [f"t{number}" for number in range(40)]
    for name in names:
        accounting.apply(found(name))
    for _ in range(600):
        name, number = chance.choice(names), chance.randint(1, 4)
        outcome = chance.choice(list(Outcome))
        events: list[Event] = [
            ended(name, outcome, number=number, again=outcome.bad and chance.random() < 0.5),
            AttemptAmended(test=f"unit/{name}", number=number, message="late"),
            AttemptDropped(test=f"unit/{name}", number=number),
            TestNotRun(test=f"unit/{name}", reason="because"),
        ]
        accounting.apply(chance.choice(events))
        records = accounting.records.values()
        assert accounting.counts() == Counter(record.state for record in records)
        assert accounting.verdicts() == Counter(record.state for record in records if record.decided)


def test_modules_are_results() -> None:
    """A module that does not collect is an error named after it, one that skips itself is skipped."""
    broken = ModuleCollected(key="m1", group="unit", path="tests/test_b.py", failed=True, message="SyntaxError")
    skipped = ModuleCollected(key="m2", group="unit", path="tests/test_c.py", failed=False, message="no numpy")
    accounting = accounted(started(), broken, skipped)
    assert [(record.test.id, record.state) for record in accounting.records.values()] == [
        ("tests/test_b.py", State.ERROR),
        ("tests/test_c.py", State.SKIPPED),
    ]
    assert exit_code(accounting) is ExitCode.TESTS_FAILED


def test_exit_codes() -> None:
    """Each verdict has its exit code, the worst first."""
    flaky = [ended("b", O.FAILED), ended("b", number=2)]
    both = [found("a"), found("b")]
    error = DiscoveryFinished(group="e2e", count=0, error="usage error")
    assert exit_code(accounted(*both, ended("a"), ended("b", O.SKIPPED))) is ExitCode.OK
    assert exit_code(accounted(*both, ended("a", O.FAILED))) is ExitCode.TESTS_FAILED
    assert exit_code(accounted(*both, ended("a"), *flaky)) is ExitCode.FLAKY
    assert exit_code(accounted(*both, *flaky)) is ExitCode.INFRASTRUCTURE
    assert exit_code(accounted(*both, ended("a"), ended("b"), error)) is ExitCode.INFRASTRUCTURE
    assert exit_code(accounted(started())) is ExitCode.NO_TESTS
    assert exit_code(accounted(started()), no_tests="pass") is ExitCode.OK
    assert exit_code(accounted(*both, ended("a"), *flaky), flaky="pass") is ExitCode.OK
    assert exit_code(accounted(*both, ended("a"), *flaky), flaky="fail") is ExitCode.TESTS_FAILED


def test_sandboxes_are_counted() -> None:
    """How many there are, were at most, died and were replaced; that may begin before the dead one is cleared away."""
    died = Incident(kind=IncidentKind.SANDBOX_DEAD, reason="killed", sandbox="a")
    accounting = accounted(
        *[*sandbox("a"), *sandbox("b"), died, *sandbox("c"), *sandbox("a", SandboxEnd.DEAD)],
        SandboxStarting(sandbox="d"),
    )
    assert accounting.sandboxes_alive == {"b", "c"}
    assert accounting.sandboxes_starting == {"d"}
    assert (accounting.sandboxes_ready, accounting.sandboxes_peak, accounting.sandboxes_replaced) == (3, 3, 1)
    assert accounting.sandboxes_ended == Counter({"dead": 1})


def test_why_a_test_was_not_run() -> None:
    """The reason it was given, else what ended the run."""
    accounting = accounted(found("a"), TestNotRun(test="unit/a", reason="no sandbox left"))
    assert accounting.why_not_run(accounting.records["unit/a"]) == "no sandbox left"
    accounting = accounted(found("a"), Interrupted(2))
    assert "interrupted" in accounting.why_not_run(accounting.records["unit/a"])
    accounting = accounted(found("a"))
    assert accounting.why_not_run(accounting.records["unit/a"])


def test_other_events_change_no_record() -> None:
    """Events that are not about a test's verdict leave the records alone."""
    incident = Incident(kind=IncidentKind.SANDBOX_DEAD, reason="gone", sandbox="box-1")
    accounting = accounted(found("a"), began("a"), LogLine(sandbox="box-1", session="s", line="x"), incident)
    assert accounting.records["unit/a"].attempts == []
    assert accounting.incidents == [incident]
