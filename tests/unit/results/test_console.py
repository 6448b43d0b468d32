"""The words of the console: each thing once, bounded, and harmless."""

from __future__ import annotations

import io

import pytest

from offload_core.abc import Outcome
from offload_core.events import (
    DiscoveryStarted,
    Event,
    Incident,
    IncidentKind,
    RetryWaiting,
    SandboxStarting,
    Stamped,
    TestNotRun,
    Warned,
)
from offload_core.results.accounting import Accounting
from offload_core.results.console import PlainConsole
from offload_core.results.console.printer import StreamPrinter
from offload_core.results.console.wording import MAX_FAILURE_LINES
from offload_core.results.summary import summarize
from offload_core.results.words import count, duration, incident
from tests.support.synthetic import began, ended, found, run_of


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Plain:
    """A plain console with its accounting, clock and streams."""

    def __init__(self, color: bool = False) -> None:
        self.clock = Clock()
        self.accounting = Accounting()
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.console = PlainConsole(
            self.accounting,
            StreamPrinter(self.stdout, color=color),
            StreamPrinter(self.stderr, color=color),
            full_text="test-results/junit.xml",
            clock=self.clock,
        )

    def feed(self, *events: Event, every: float = 0.0) -> Plain:
        """Hand over events, `every` seconds apart."""
        for event in events:
            self.clock.now += every
            self.accounting.apply(event, self.clock.now)
            self.console(Stamped(self.clock.now, event))
        return self

    def finish(self, exit_code: int = 0) -> Plain:
        """End the run."""
        self.console.finish(summarize(self.accounting, exit_code, reports={"junit": "test-results/junit.xml"}))
        return self

    @property
    def out(self) -> str:
        """What is on stdout."""
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        """What is on stderr."""
        return self.stderr.getvalue()


def test_a_failure_is_printed_when_it_is_final_and_once() -> None:
    """With a retry left there is a word on stderr; the failure comes on stdout with the last attempt, and only then."""
    plain = Plain().feed(*run_of(found("a", retries=1), exit_code=None))
    plain.feed(began("a"), ended("a", Outcome.FAILED, text="first", again=True))
    assert plain.out == ""
    assert "retrying tests/test_a.py::a: failed (first)" in plain.err
    output = [("Captured stdout call", "said\n"), ("Captured stderr call", "  ")]
    plain.feed(began("a", 2), ended("a", Outcome.FAILED, number=2, text="second", output=output))
    assert plain.out.count("FAILED tests/test_a.py::a  (group unit, sandbox box-1, attempt 2 of 2, 0.50s)") == 1
    assert "E   second" in plain.out
    assert "--- Captured stdout call ---\n  said\n" in plain.out
    assert "stderr call" not in plain.out
    plain.finish(1)
    assert plain.out.count("E   second") == 1
    assert plain.out.count("FAILED") == 1


def test_a_retry_that_never_came_is_printed_at_the_end() -> None:
    """A failure that was to be run again when the run was cut is printed as the failure it is."""
    plain = Plain().feed(
        *run_of(found("a", retries=1), ended("a", Outcome.FAILED, text="no", again=True), exit_code=None)
    )
    assert "FAILED" not in plain.out
    assert "FAILED tests/test_a.py::a" in plain.finish(1).out
    plain = Plain().feed(
        *run_of(found("a", retries=1), ended("a", Outcome.FAILED, text="no", again=True), exit_code=None)
    )
    assert "FAILED" in plain.feed(TestNotRun(test="unit/a", reason="stopped")).out


def test_a_flaky_test_is_listed_at_the_end_with_its_failure() -> None:
    """It is no failure while the run goes on."""
    plain = Plain().feed(
        *run_of(found("a", retries=1), ended("a", Outcome.FAILED, text="once", again=True), ended("a", number=2))
    )
    assert plain.out == ""
    assert "Flaky tests (failed, then passed):\n  tests/test_a.py::a\n    failed on box-1: once" in plain.finish(2).out


def test_the_end() -> None:
    """Counts, names of failed and not run tests with reasons, incidents, reports, the command, and the verdict last."""
    plain = Plain().feed(
        *run_of(
            *[found(name) for name in ("good", "bad", "slow", "never", "nor")],
            ended("good"),
            ended("bad", Outcome.FAILED, text="no"),
            ended("slow", Outcome.TIMED_OUT, text="took longer"),
            Incident(kind=IncidentKind.SANDBOX_DEAD, reason="out of memory", sandbox="box-9", requeued=("unit/good",)),
            TestNotRun(test="unit/never", reason="no sandbox left"),
            TestNotRun(test="unit/nor", reason="no sandbox left"),
        )
    )
    end = plain.finish(1).out
    for line in (
        "Test Results:",
        "  Total:             5",
        "  Passed:            1",
        "  Failed:            2 (1 failed, 1 timed out)",
        "  Not Run:           2",
        "Not run (2 tests): no sandbox left",
        "  tests/test_a.py::never",
        "Failed tests:",
        "  tests/test_a.py::slow  (timed_out: took longer)",
        "  sandbox box-9 died (out of memory): 1 test runs again elsewhere",
        "Slowest tests:",
        "  test-results/junit.xml",
        "  offload run --last-failed",
    ):
        assert line in end.splitlines(), line
    assert "Flaky" not in end
    assert end.splitlines()[-1] == "Some tests failed."


def test_long_lists_are_bounded() -> None:
    """Of a thousand tests that were not run, some are named, and the others are counted."""
    names = [f"t{number}" for number in range(1000)]
    end = Plain().feed(*run_of(*map(found, names))).finish(3).out
    assert end.count("tests/test_a.py::t") == 20
    assert "… and 980 more, in summary.json" in end


def test_a_long_failure_is_cut_and_says_where_the_rest_is() -> None:
    """A failure of megabytes is at most 200 lines, none of them endless."""
    text = "\n".join(f"{number} " + "x" * 5000 for number in range(2000))
    plain = Plain().feed(*run_of(found("a"), ended("a", Outcome.FAILED, text=text)))
    lines = plain.out.splitlines()
    assert MAX_FAILURE_LINES // 20 < len(lines) < MAX_FAILURE_LINES + 10
    assert max(map(len, lines)) < 2200
    plain = Plain().feed(*run_of(found("a"), ended("a", Outcome.FAILED, text="x\n" * 5000)))
    assert "more than 200 lines; full text in test-results/junit.xml" in plain.out


def test_many_failures_are_bounded() -> None:
    """Of 2,000 failures a hundred are printed in full, then names, and in the end one line for the rest."""
    names = [f"t{number}" for number in range(2000)]
    plain = Plain().feed(*run_of(*map(found, names), *[ended(name, Outcome.FAILED, text="no") for name in names]))
    assert plain.out.count("E   no") == 100
    assert plain.out.count("FAILED tests/") == 1000
    assert "further failures are not printed; they are in test-results/junit.xml" in plain.out


def test_no_control_character_gets_through() -> None:
    """Whatever a sandbox sends, the terminal gets text."""
    odd = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\x08\u202e\x00"
    plain = Plain().feed(
        *run_of(
            found(f"a[{odd}]"),
            ended(f"a[{odd}]", Outcome.FAILED, text=f"text {odd}", output=[(f"title {odd}", f"out {odd}")]),
            Warned(f"warned {odd}"),
            Incident(kind=IncidentKind.SANDBOX_DEAD, reason=odd, sandbox=odd, suspects=(f"unit/a[{odd}]",)),
            RetryWaiting(operation="create", sandbox=odd, attempt=1, wait=0.5, error=odd),
        )
    )
    shown = plain.finish(1).out + plain.err
    assert "text" in shown
    assert "owned" in shown  # names show what they hold, spelled out
    assert not {"\x1b", "\x9b", "\x07", "\r", "\x08", "\u202e", "\x00"} & set(shown)


def test_progress_is_bounded() -> None:
    """One line of progress a second while verdicts come, and the last one says 100 %."""
    names = [f"t{number}" for number in range(1000)]
    plain = Plain().feed(*run_of(*map(found, names), exit_code=None))
    plain.feed(*[ended(name) for name in names], every=0.01).finish()
    lines = [line for line in plain.err.splitlines() if line.startswith("[ci]")]
    assert 9 <= len(lines) <= 12
    assert lines[0] == "[ci] 0% | passed: 1, failed: 0, flaky: 0, awaiting: 999"
    assert lines[-1] == "[ci] 100% | passed: 1000, failed: 0, flaky: 0, awaiting: 0"


def test_progress_counts_verdicts() -> None:
    """A failure that is run again is awaited, not failed."""
    plain = Plain().feed(*run_of(found("a", retries=1), found("b"), found("c"), exit_code=None))
    plain.feed(ended("b"), ended("a", Outcome.FAILED, again=True), ended("c", Outcome.ERROR), every=2)
    assert plain.err.splitlines()[-1] == "[ci] 66% | passed: 1, failed: 1, flaky: 0, awaiting: 1"


def test_silence_is_broken() -> None:
    """After 30 s without a line it says what the run waits for, and again after 30 more."""
    plain = Plain().feed(*run_of(found("a"), exit_code=None), DiscoveryStarted(group="e2e"))
    plain.feed(began("a"), SandboxStarting(sandbox="box-2"))
    plain.clock.now += 29
    plain.console.tick()
    assert "[waiting]" not in plain.err
    plain.clock.now += 1
    plain.console.tick()
    plain.console.tick()
    expected = (
        "[waiting] discovering e2e (30.0s); 1 sandbox starting; 1 test running: tests/test_a.py::a (30.0s in box-1)"
    )
    assert plain.err.splitlines()[-1] == expected
    assert plain.err.count("[waiting]") == 1
    plain.clock.now += 30
    plain.console.tick()
    assert plain.err.count("[waiting]") == 2


def test_phases() -> None:
    """Discovery says when it begins and what it found, in the form that scripts know."""
    lines = Plain().feed(*run_of(found("a")), every=0.1).err.splitlines()
    assert "[discover] starting: unit" in lines
    assert "[discover] finished: unit [1 test, took 0.20s]" in lines


def test_notices_are_bounded() -> None:
    """Five hundred refused sandboxes do not make five hundred lines."""
    waits = [
        RetryWaiting(operation="create", sandbox=f"box-{number}", attempt=1, wait=0.5, error="no capacity")
        for number in range(500)
    ]
    plain = Plain().feed(*run_of(*waits))
    assert plain.err.count("[retry] create box-") == 50
    assert "[retry] more of these" in plain.err


def test_colors_are_asked_for() -> None:
    """Without colors there is no escape sequence; with them, results have some."""
    events = run_of(found("a"), ended("a", Outcome.FAILED, text="no"))
    assert "\x1b" not in Plain(color=False).feed(*events).finish(1).out
    assert "\x1b[1;31mFAILED" in Plain(color=True).feed(*events).finish(1).out


def test_words() -> None:
    """Durations and counts as people write them."""
    assert [duration(each) for each in (0.004, 9.994, 12.34, 59.9, 59.96, 125, 3725)] == [
        "0.00s",
        "9.99s",
        "12.3s",
        "59.9s",
        "1m 00s",
        "2m 05s",
        "1h 02m",
    ]
    assert [count(1, "test"), count(2, "test"), count(1000, "sandbox")] == ["1 test", "2 tests", "1,000 sandboxes"]


@pytest.mark.parametrize("kind", list(IncidentKind))
def test_every_incident_is_told_in_words(kind: IncidentKind) -> None:
    """Not by the name it has in the journal."""
    what = {"kind": kind.value, "sandbox": "box-1", "session": "s", "reason": "", "requeued": (), "suspects": ()}
    assert kind.value not in incident(what)
