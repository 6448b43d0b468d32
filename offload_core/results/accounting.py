"""What a run's verdict and its reports are made of: the ledger of its tests, and what else happened."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from operator import itemgetter

from attrs import define, field
from typing_extensions import override

from .. import events
from ..abc import State
from ..ledger import Ledger, Record


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


_DEATHS = (events.IncidentKind.SANDBOX_DEAD, events.IncidentKind.SANDBOX_LOST)


@define
class Accounting(Ledger):
    """The ledger of a run, and what else its verdict depends on.

    Attributes:
        now: the time of the latest event, in seconds.
        discovered_at: that of the last group that was listed.
        discovery_errors: the groups that could not be listed, with the reason.
        sandboxes_ended: counts by `SandboxEnd`.
        sandboxes_peak: the most that were alive at once.
    """

    incidents: list[events.Incident] = field(factory=list)
    warnings: list[str] = field(factory=list)
    started: events.RunStarted | None = None
    finished: events.RunFinished | None = None
    interrupted: events.Interrupted | None = None
    sandboxes_starting: set[str] = field(factory=set)
    sandboxes_alive: set[str] = field(factory=set)
    sandboxes_ready: int = 0
    sandboxes_peak: int = 0
    sandboxes_replaced: int = 0
    sandboxes_ended: Counter[str] = field(factory=Counter)
    artefacts: list[events.ArtefactsCollected] = field(factory=list)
    costs: list[events.CostEstimated] = field(factory=list)
    discovery_errors: dict[str, str] = field(factory=dict)
    discovered_at: float = 0.0
    now: float = 0.0

    @override
    def apply(self, event: events.Event, at: float = 0.0) -> None:
        """Take one event into account. Events it does not need are ignored."""
        self.now = max(self.now, at)
        match event:
            case events.DiscoveryFinished():
                self.discovered_at = at
                if event.error:
                    self.discovery_errors[event.group] = event.error
            case events.Incident():
                self.incidents.append(event)
            case events.Warned(message):
                self.warnings.append(message)
            case events.ArtefactsCollected():
                self.artefacts.append(event)
            case events.CostEstimated():
                self.costs.append(event)
            case events.SandboxStarting() | events.SandboxReady() | events.SandboxEnded():
                self._sandbox(event)
            case events.RunStarted():
                self.started = event
            case events.RunFinished():
                self.finished = event
            case events.Interrupted():
                self.interrupted = event
            case _:
                super().apply(event, at)

    def _sandbox(self, event: events.SandboxEvent) -> None:
        self.sandboxes_starting.discard(event.sandbox)
        match event:
            case events.SandboxStarting():
                self.sandboxes_starting.add(event.sandbox)
                # told by the incident: the replacement may start before the dead one is cleared away
                died = sum(each.kind in _DEATHS for each in self.incidents)
                self.sandboxes_replaced += self.sandboxes_replaced < died
            case events.SandboxReady():
                self.sandboxes_alive.add(event.sandbox)
                self.sandboxes_ready += 1
                self.sandboxes_peak = max(self.sandboxes_peak, len(self.sandboxes_alive))
            case events.SandboxEnded():
                self.sandboxes_alive.discard(event.sandbox)
                self.sandboxes_ended[event.how.value] += 1

    def slowest(self, limit: int) -> list[tuple[float, Record]]:
        """The tests whose deciding attempts took longest, with their seconds."""
        found = [(attempt.duration, record) for record in self.records.values() if (attempt := record.deciding)]
        return sorted(found, key=itemgetter(0), reverse=True)[:limit]

    def why_not_run(self, record: Record) -> str:
        """In words, why a test has no verdict."""
        if record.not_run:
            return record.not_run
        if self.interrupted:
            return "the run was interrupted"
        ended = self.finished.reason if self.finished else ""
        return ended or "the run ended before it had a verdict"


def exit_code(accounting: Accounting, *, flaky: str = "", no_tests: str = "") -> ExitCode:
    """The exit code that the states make, for a run that was not interrupted.

    Args:
        flaky: `"pass"` or `"fail"` overrides what flaky tests mean.
        no_tests: `"pass"` accepts an empty run.
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
