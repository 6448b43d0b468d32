"""What happens in a run, as typed events: execution emits them, and everything that reports consumes them.

They are also the journal's lines (`offload_core.results.journal`), so a field that is added here needs a default, and
one that is removed or changes its meaning raises `SCHEMA`. Each event is stamped with the seconds since the run
started.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import field, frozen

from .abc import Attempt, CostEstimate, SandboxRef, Test

SCHEMA = 1
"""The version of the journal's format."""


@frozen(kw_only=True)
class RunStarted:
    """The first event. `epoch` is the time of day of second 0."""

    schema: int = SCHEMA
    offload: str
    run_id: str
    epoch: float
    argv: tuple[str, ...]
    provider: str
    framework: str
    max_parallel: int
    config_path: str = ""
    config_hash: str = ""
    commit: str = ""
    dirty_hash: str = ""
    hash_seed: int = 0
    groups: tuple[str, ...] = ()


@frozen(kw_only=True)
class DiscoveryStarted:
    """A group's tests are being listed."""

    group: str


@frozen
class TestDiscovered:
    """A test that the run now owes a verdict."""

    __test__ = False

    test: Test


@frozen(kw_only=True)
class ModuleCollected:
    """A module that is a result itself: it failed to collect (`error`), or skipped itself (`skipped`)."""

    key: str
    group: str
    path: str
    failed: bool
    message: str
    details: str = ""


@frozen(kw_only=True)
class DiscoveryFinished:
    """A group is listed. `error` says why it could not be, in which case `count` is what was found before."""

    group: str
    count: int
    error: str = ""


@frozen(kw_only=True)
class PrepareStarted:
    """The image is being made."""

    provider: str


@frozen
class PrepareProgress:
    """A line that the image build printed."""

    line: str


@frozen(kw_only=True)
class PrepareFinished:
    """The image is there (`image_id`), is not needed (both empty), or could not be made (`error`)."""

    image_id: str = ""
    image_key: str = ""
    error: str = ""


@frozen(kw_only=True)
class SandboxStarting:
    """A sandbox is being created."""

    sandbox: str


@frozen(kw_only=True)
class SandboxReady:
    """A sandbox can take work."""

    sandbox: str
    ref: SandboxRef


class SandboxEnd(StrEnum):
    """How a sandbox ended."""

    TERMINATED = "terminated"
    DEAD = "dead"
    LOST = "lost"
    NOT_CREATED = "not_created"


@frozen(kw_only=True)
class SandboxEnded:
    """A sandbox is gone, abandoned, or was never made."""

    sandbox: str
    how: SandboxEnd
    reason: str = ""


@frozen(kw_only=True)
class SessionOpened:
    """A test session's framework is up."""

    sandbox: str
    session: str
    versions: str = ""


@frozen(kw_only=True)
class SessionEnded:
    """A session has ended; `complete` if it said so itself."""

    sandbox: str
    session: str
    complete: bool
    reason: str = ""


@frozen(kw_only=True)
class TestBegan:
    """An attempt has begun."""

    __test__ = False

    test: str
    number: int
    sandbox: str
    session: str
    hedge: bool = False


@frozen
class AttemptFinished:
    """An attempt has ended, one way or another. `again`: the test will be run again, so this is not its verdict."""

    attempt: Attempt
    again: bool = False


@frozen(kw_only=True)
class AttemptAmended:
    """A teardown that failed after the attempt was reported makes it an error."""

    test: str
    number: int
    message: str
    details: str = ""
    again: bool = False


@frozen(kw_only=True)
class AttemptDropped:
    """A hedge that came second, or was not needed any more: its outcome does not count."""

    test: str
    number: int


@frozen(kw_only=True)
class TestNotRun:
    """The run ends without a verdict on this test."""

    __test__ = False

    test: str
    reason: str


class IncidentKind(StrEnum):
    """What kind of thing went wrong that was no test's failure."""

    SANDBOX_DEAD = "sandbox_dead"
    SANDBOX_LOST = "sandbox_lost"
    SANDBOX_UNUSABLE = "sandbox_unusable"
    SESSION_CRASHED = "session_crashed"
    CREATE_FAILED = "create_failed"
    TERMINATE_FAILED = "terminate_failed"
    PREPARE_FAILED = "prepare_failed"
    DISCOVERY_FAILED = "discovery_failed"
    BREAKER = "breaker"
    STALLED = "stalled"


@frozen(kw_only=True)
class Incident:
    """Infrastructure failed. `requeued` are the tests that run elsewhere for it, `suspects` those that may have
    caused it. `details` is the last output of what ended, if there was any.
    """

    kind: IncidentKind
    reason: str
    sandbox: str = ""
    session: str = ""
    requeued: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    details: str = ""


@frozen(kw_only=True)
class ArtefactsCollected:
    """Files that a session left were brought. `files` are relative to the output directory, `size` is in bytes,
    `seconds` is how long that took.
    """

    sandbox: str
    session: str
    files: tuple[str, ...]
    size: int
    seconds: float


@frozen(kw_only=True)
class CostEstimated:
    """What a sandbox that has ended cost, by its provider's prices; `seconds` is how long it was there."""

    sandbox: str
    seconds: float
    cost: CostEstimate


@frozen(kw_only=True)
class RetryWaiting:
    """An operation failed and is tried again after `wait` seconds."""

    operation: str
    sandbox: str
    attempt: int
    wait: float
    error: str


@frozen
class Warned:
    """Something the user should know, with what to do about it."""

    message: str


@frozen(kw_only=True)
class LogLine:
    """Output of a sandbox that is no test's: a line, or several. Goes to `logs/`, not into the journal."""

    sandbox: str
    session: str
    line: str


@frozen
class Interrupted:
    """The user or the system asked the run to stop. `signal` is SIGINT's or SIGTERM's number."""

    signal: int


@frozen(kw_only=True)
class RunFinished:
    """The last event: everything before it is all there is. `reason` says why the run ended early, if it did."""

    exit_code: int
    reason: str = ""


DiscoveryEvent = DiscoveryStarted | ModuleCollected | DiscoveryFinished
PrepareEvent = PrepareStarted | PrepareProgress | PrepareFinished
SandboxEvent = SandboxStarting | SandboxReady | SandboxEnded
SessionEvent = SessionOpened | SessionEnded | ArtefactsCollected | LogLine
AttemptEvent = AttemptFinished | AttemptAmended | AttemptDropped
TestEvent = TestDiscovered | TestBegan | AttemptEvent | TestNotRun
RunEvent = RunStarted | Incident | RetryWaiting | Warned | CostEstimated | Interrupted | RunFinished
Event = RunEvent | DiscoveryEvent | PrepareEvent | SandboxEvent | SessionEvent | TestEvent


@frozen
class Stamped:
    """An event and the seconds since the run started at which it happened."""

    at: float
    event: Event


Consumer = Callable[[Stamped], None]
"""Gets each event in order. Must not block for long; must not raise (the bus warns once and drops it if it does)."""


@frozen
class Bus:
    """Hands each event to every consumer, in order. `clock` gives the seconds since the run started."""

    clock: Callable[[], float]
    consumers: list[Consumer] = field(factory=list)

    def emit(self, event: Event) -> None:
        """Stamp and hand over. Times are those that the journal can hold, so that all reports tell the same."""
        stamped = Stamped(round(self.clock(), 6), event)
        broken: list[Exception] = []
        for consumer in tuple(self.consumers):
            try:
                consumer(stamped)
            except Exception as error:
                self.consumers.remove(consumer)
                broken.append(error)
        for each in broken:
            self.emit(Warned(f"part of the report ends here, by an error in Offload; please report it: {each!r}"))
