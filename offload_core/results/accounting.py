"""What is known of every test: its attempts, and the one state they make.

Pure: it consumes events and does no I/O. Execution asks it what a test still needs, reports ask it what to say, and a
journal read again gives the same answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum

from attrs import define, evolve, field

from ..abc import Attempt, Outcome, State, Test
from ..events import (
    AttemptAmended,
    AttemptFinished,
    Event,
    Incident,
    Interrupted,
    ModuleCollected,
    RunFinished,
    RunStarted,
    SandboxEnded,
    SandboxReady,
    TestDiscovered,
    TestNotRun,
)


class ExitCode(IntEnum):
    """What `offload run` exits with."""

    OK = 0
    TESTS_FAILED = 1
    FLAKY = 2
    INFRASTRUCTURE = 3
    USAGE = 4
    NO_TESTS = 5
    INTERRUPTED = 130
    TERMINATED = 143


def state_of(attempts: Iterable[Attempt]) -> State | None:
    """The state that attempts make, or None while there is no evidence.

    Lost attempts say nothing. The last of the others decides; a good end after a bad one is `flaky`.
    """
    telling = [attempt.outcome for attempt in attempts if attempt.outcome is not Outcome.LOST]
    if not telling:
        return None
    last = telling[-1]
    if last in (Outcome.PASSED, Outcome.XPASSED) and any(outcome.bad for outcome in telling):
        return State.FLAKY
    return State(last.value)


@define
class Record:
    """One test and all that happened to it."""

    test: Test
    attempts: list[Attempt] = field(factory=list)
    not_run: str | None = None

    @property
    def state(self) -> State:
        """The one state it is in now; `not_run` until there is evidence."""
        return state_of(self.attempts) or State.NOT_RUN

    @property
    def failures(self) -> int:
        """Attempts that count against its retries."""
        return sum(attempt.outcome.bad for attempt in self.attempts)

    @property
    def deciding(self) -> Attempt | None:
        """The attempt that its state comes from."""
        return next((each for each in reversed(self.attempts) if each.outcome is not Outcome.LOST), None)


@define
class Accounting:
    """All records of a run, in the order of discovery, and what else its verdict depends on."""

    records: dict[str, Record] = field(factory=dict)
    incidents: list[Incident] = field(factory=list)
    started: RunStarted | None = None
    finished: RunFinished | None = None
    interrupted: Interrupted | None = None
    sandboxes_ready: int = 0
    sandboxes_ended: Counter[str] = field(factory=Counter)

    def apply(self, event: Event, at: float = 0.0) -> None:
        """Take one event into account. Events it does not need are ignored."""
        match event:
            case AttemptFinished(attempt=attempt):
                self.records[attempt.test].attempts.append(attempt)
            case TestDiscovered(test):
                self.records[test.key] = Record(test)
            case ModuleCollected():
                self._module(event, at)
            case AttemptAmended():
                attempts = self.records[event.test].attempts
                for index, attempt in enumerate(attempts):
                    if attempt.number == event.number:
                        attempts[index] = amended(attempt, event)
            case TestNotRun():
                self.records[event.test].not_run = event.reason
            case Incident():
                self.incidents.append(event)
            case SandboxReady():
                self.sandboxes_ready += 1
            case SandboxEnded():
                self.sandboxes_ended[event.how.value] += 1
            case RunStarted():
                self.started = event
            case RunFinished():
                self.finished = event
            case Interrupted():
                self.interrupted = event
            case _:
                pass

    def _module(self, event: ModuleCollected, at: float) -> None:
        test = Test(key=event.key, id=event.path, group=event.group, path=event.path, affinity=event.path)
        outcome = Outcome.ERROR if event.failed else Outcome.SKIPPED
        attempt = Attempt(
            test=event.key,
            number=1,
            sandbox="",
            session="discovery",
            outcome=outcome,
            start=at,
            duration=0.0,
            message=event.message,
            details=event.details,
        )
        self.records[event.key] = Record(test, [attempt])

    def counts(self) -> Counter[State]:
        """How many tests are in each state."""
        return Counter(record.state for record in self.records.values())


def amended(attempt: Attempt, event: AttemptAmended) -> Attempt:
    """The attempt with a late teardown failure: a good one becomes an error, a bad one keeps its outcome."""
    details = "\n".join(part for part in (attempt.details, event.details) if part)
    if attempt.outcome.bad:
        return evolve(attempt, details=details)
    return evolve(attempt, outcome=Outcome.ERROR, message=event.message, details=details)


def exit_code(accounting: Accounting, *, flaky: str = "", no_tests: str = "") -> ExitCode:
    """The exit code that the states make, for a run that was not interrupted.

    Args:
        flaky: `"pass"` or `"fail"` overrides what flaky tests mean. no_tests: `"pass"` accepts an empty run.
    """
    counts = accounting.counts()
    if any(state.bad for state in counts):
        return ExitCode.TESTS_FAILED
    if counts[State.NOT_RUN]:
        return ExitCode.INFRASTRUCTURE
    if not counts:
        return ExitCode.OK if no_tests == "pass" else ExitCode.NO_TESTS
    if counts[State.FLAKY]:
        return {"pass": ExitCode.OK, "fail": ExitCode.TESTS_FAILED}.get(flaky, ExitCode.FLAKY)
    return ExitCode.OK
