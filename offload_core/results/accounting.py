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
    ArtefactsCollected,
    AttemptAmended,
    AttemptDropped,
    AttemptFinished,
    CostEstimated,
    DiscoveryFinished,
    Event,
    Incident,
    IncidentKind,
    Interrupted,
    ModuleCollected,
    RunFinished,
    RunStarted,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    TestDiscovered,
    TestNotRun,
    Warned,
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
    if last.good and any(outcome.bad for outcome in telling):
        return State.FLAKY
    return State(last.value)


@define
class Record:
    """One test and all that happened to it."""

    test: Test
    attempts: list[Attempt] = field(factory=list)
    not_run: str | None = None
    again: bool = False
    """Whether its last attempt is not its verdict, because another follows."""

    @property
    def state(self) -> State:
        """The one state it is in now; `not_run` until there is evidence."""
        return state_of(self.attempts) or State.NOT_RUN

    @property
    def decided(self) -> bool:
        """Whether its state is its verdict."""
        return not self.again and self.state is not State.NOT_RUN

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
    """All records of a run, in the order of discovery, and what else its verdict depends on.

    `now` is the time of the latest event in seconds, `discovered_at` that of the last group listed; `discovery_errors`
    has the groups that could not be listed. `sandboxes_ended` counts by `SandboxEnd`, `sandboxes_peak` is the most
    that were alive at once.
    """

    records: dict[str, Record] = field(factory=dict)
    incidents: list[Incident] = field(factory=list)
    warnings: list[str] = field(factory=list)
    started: RunStarted | None = None
    finished: RunFinished | None = None
    interrupted: Interrupted | None = None
    sandboxes_starting: set[str] = field(factory=set)
    sandboxes_alive: set[str] = field(factory=set)
    sandboxes_ready: int = 0
    sandboxes_peak: int = 0
    sandboxes_replaced: int = 0
    sandboxes_ended: Counter[str] = field(factory=Counter)
    artefacts: list[ArtefactsCollected] = field(factory=list)
    costs: list[CostEstimated] = field(factory=list)
    discovery_errors: dict[str, str] = field(factory=dict)
    discovered_at: float = 0.0
    now: float = 0.0
    _states: Counter[State] = field(factory=Counter)
    _verdicts: Counter[State] = field(factory=Counter)

    def apply(self, event: Event, at: float = 0.0) -> None:
        """Take one event into account. Events it does not need are ignored."""
        self.now = max(self.now, at)
        match event:
            case AttemptFinished() | AttemptAmended() | AttemptDropped() | TestNotRun():
                self._test(event)
            case TestDiscovered(test):
                self._add(Record(test))
            case ModuleCollected():
                self._module(event, at)
            case DiscoveryFinished():
                self.discovered_at = at
                if event.error:
                    self.discovery_errors[event.group] = event.error
            case Incident():
                self.incidents.append(event)
            case Warned(message):
                self.warnings.append(message)
            case ArtefactsCollected():
                self.artefacts.append(event)
            case CostEstimated():
                self.costs.append(event)
            case SandboxStarting() | SandboxReady() | SandboxEnded():
                self._sandbox(event)
            case RunStarted():
                self.started = event
            case RunFinished():
                self.finished = event
            case Interrupted():
                self.interrupted = event
            case _:
                pass

    def _test(self, event: AttemptFinished | AttemptAmended | AttemptDropped | TestNotRun) -> None:
        record = self.records[event.attempt.test if isinstance(event, AttemptFinished) else event.test]
        self._count(record, -1)
        match event:
            case AttemptFinished():
                record.attempts.append(event.attempt)
                record.again = event.again
            case AttemptAmended():
                record.attempts = [
                    amended(attempt, event) if attempt.number == event.number else attempt
                    for attempt in record.attempts
                ]
                record.again = record.again or event.again
            case AttemptDropped():
                record.attempts = [attempt for attempt in record.attempts if attempt.number != event.number]
            case TestNotRun():
                record.not_run = event.reason
                record.again = False
        self._count(record, +1)

    def _sandbox(self, event: SandboxStarting | SandboxReady | SandboxEnded) -> None:
        self.sandboxes_starting.discard(event.sandbox)
        match event:
            case SandboxStarting():
                self.sandboxes_starting.add(event.sandbox)
                # told by the incident: the replacement may start before the dead one is cleared away
                died = sum(
                    each.kind in (IncidentKind.SANDBOX_DEAD, IncidentKind.SANDBOX_LOST) for each in self.incidents
                )
                self.sandboxes_replaced += self.sandboxes_replaced < died
            case SandboxReady():
                self.sandboxes_alive.add(event.sandbox)
                self.sandboxes_ready += 1
                self.sandboxes_peak = max(self.sandboxes_peak, len(self.sandboxes_alive))
            case SandboxEnded():
                self.sandboxes_alive.discard(event.sandbox)
                self.sandboxes_ended[event.how.value] += 1

    def _add(self, record: Record) -> None:
        self.records[record.test.key] = record
        self._count(record, +1)

    def _count(self, record: Record, by: int) -> None:
        state = record.state
        self._states[state] += by
        if state is not State.NOT_RUN and not record.again:
            self._verdicts[state] += by

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
        self._add(Record(test, [attempt]))

    def why_not_run(self, record: Record) -> str:
        """In words, why a test has no verdict."""
        if record.not_run:
            return record.not_run
        if self.interrupted:
            return "the run was interrupted"
        ended = self.finished.reason if self.finished else ""
        return ended or "the run ended before it had a verdict"

    def counts(self) -> Counter[State]:
        """How many tests are in each state."""
        return +self._states

    def verdicts(self) -> Counter[State]:
        """How many tests are decided, in each state."""
        return +self._verdicts

    @property
    def decided(self) -> int:
        """How many tests have their verdict."""
        return self._verdicts.total()


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
    if counts[State.NOT_RUN] or accounting.discovery_errors:
        return ExitCode.INFRASTRUCTURE
    if not counts:
        return ExitCode.OK if no_tests == "pass" else ExitCode.NO_TESTS
    if counts[State.FLAKY]:
        return {"pass": ExitCode.OK, "fail": ExitCode.TESTS_FAILED}.get(flaky, ExitCode.FLAKY)
    return ExitCode.OK
