"""Where the wall-clock time of a run of Offload went, from its journal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from attrs import Factory, define, frozen

from offload_core.abc import Outcome
from offload_core.events import AttemptFinished, DiscoveryFinished, SandboxReady, SessionOpened, Stamped, TestBegan
from offload_core.results.journal import read_journal


@frozen(kw_only=True)
class Figures:
    """All in seconds; sums are over all sandboxes.

    Attributes:
        ready: until the last of the first sandboxes was ready. opened: until its session was up.
        discovered: until discovery had ended.
        testing: sum of the durations that the framework reports.
        around: sum of what passed from a test's start to its end beyond that: the framework's and its plugins' own.
        between: sum of the gaps from one test's end to the next one's start: imports, shared fixtures, waiting.
        longest: the longest of these gaps.
        tail: from the first sandbox that had nothing more to do until the end of the last test.
        closing: from there until everything was shut down. total: of the run, without the program's start and reports.
    """

    ready: float
    opened: float
    discovered: float
    testing: float
    around: float
    between: float
    longest: float
    tail: float
    closing: float
    total: float

    @classmethod
    def median(cls, several: Sequence[Figures]) -> Figures:
        """Each figure's median."""
        names = [attribute.name for attribute in attrs.fields(cls)]
        return cls(**{name: statistics.median(getattr(one, name) for one in several) for name in names})

    def lines(self) -> Iterator[str]:
        """In words."""
        yield f"sandboxes ready {self.ready:.2f}, sessions up {self.opened:.2f}, discovery over {self.discovered:.2f}"
        yield f"in tests {self.testing:.1f}, around them {self.around:.1f}, between them {self.between:.1f} " + (
            f"(longest {self.longest:.2f})"
        )
        yield f"idle at the end {self.tail:.2f}, shutting down {self.closing:.2f}, in all {self.total:.1f}"


@define
class _Sandbox:
    ready: float = 0.0
    opened: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    testing: float = 0.0
    running: float = 0.0
    gaps: list[float] = Factory(list)


def figures_of(journal: Path) -> Figures:
    """The figures of a run in which every sandbox lived to its end."""
    sandboxes: dict[str, _Sandbox] = {}
    discovered = total = 0.0
    for stamped in read_journal(journal):
        if isinstance(stamped.event, DiscoveryFinished):
            discovered = stamped.at
        _account(sandboxes, stamped)
        total = stamped.at
    used = [sandbox for sandbox in sandboxes.values() if sandbox.running]
    gaps = [gap for sandbox in used for gap in sandbox.gaps]
    last = max(sandbox.ended for sandbox in used)
    return Figures(
        ready=max(sandbox.ready for sandbox in used),
        opened=max(sandbox.opened for sandbox in used),
        discovered=discovered,
        testing=sum(sandbox.testing for sandbox in used),
        around=sum(sandbox.running - sandbox.testing for sandbox in used),
        between=sum(gaps),
        longest=max(gaps),
        tail=last - min(sandbox.ended for sandbox in used),
        closing=total - last,
        total=total,
    )


def _account(sandboxes: dict[str, _Sandbox], stamped: Stamped) -> None:
    at = stamped.at
    match stamped.event:
        case SandboxReady(sandbox=name):
            sandboxes[name] = _Sandbox(ready=at)
        case SessionOpened(sandbox=name):
            sandbox = sandboxes[name]
            sandbox.opened = sandbox.opened or at
        case TestBegan(sandbox=name):
            sandbox = sandboxes[name]
            sandbox.gaps.append(at - (sandbox.ended or sandbox.opened))
            sandbox.began = at
        case AttemptFinished(attempt) if attempt.sandbox and attempt.outcome is not Outcome.LOST:
            sandbox = sandboxes[attempt.sandbox]
            sandbox.testing += attempt.duration
            sandbox.running += at - sandbox.began
            sandbox.ended = at
        case _:
            pass
