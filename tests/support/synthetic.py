"""Events of runs that never happened, for the tests of what consumes events."""

from __future__ import annotations

from collections.abc import Iterable

from offload_core.abc import Attempt, Outcome, SandboxRef, Section, Test
from offload_core.events import (
    AttemptFinished,
    DiscoveryFinished,
    DiscoveryStarted,
    Event,
    RunFinished,
    RunStarted,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    Stamped,
    TestBegan,
    TestDiscovered,
)
from offload_core.results.accounting import Accounting


def started(config_path: str = "offload.toml", groups: tuple[str, ...] = ("unit",)) -> RunStarted:
    """The first event of a run."""
    return RunStarted(
        offload="0.1.0",
        run_id="run-1",
        epoch=1_700_000_000.0,
        argv=("offload", "run"),
        provider="local",
        framework="pytest",
        max_parallel=4,
        config_path=config_path,
        groups=groups,
    )


def found(name: str, group: str = "unit", retries: int = 0) -> TestDiscovered:
    """A test `name` of `tests/test_a.py` is discovered; its key is `<group>/<name>`."""
    path = "tests/test_a.py"
    test = Test(
        key=f"{group}/{name}",
        id=f"{path}::{name}",
        group=group,
        path=path,
        affinity=path,
        retries=retries,
        file=path,
        line=7,
    )
    return TestDiscovered(test)


def began(name: str, number: int = 1, group: str = "unit", sandbox: str = "box-1") -> TestBegan:
    """An attempt at the test begins."""
    return TestBegan(test=f"{group}/{name}", number=number, sandbox=sandbox, session=f"{sandbox}.s1")


def ended(
    name: str,
    outcome: Outcome = Outcome.PASSED,
    *,
    number: int = 1,
    group: str = "unit",
    again: bool = False,
    text: str = "",
    output: Iterable[tuple[str, str]] = (),
) -> AttemptFinished:
    """An attempt ends after half a second; with `text`, its message is that and its details are a traceback to it."""
    attempt = Attempt(
        test=f"{group}/{name}",
        number=number,
        sandbox="box-1",
        session="box-1.s1",
        outcome=outcome,
        start=1.0,
        duration=0.5,
        message=text,
        details=f">   assert 1 == 2\nE   {text}" if text else "",
        output=tuple(Section(title, each) for title, each in output),
    )
    return AttemptFinished(attempt, again=again)


def sandbox(name: str = "box-1", how: SandboxEnd | None = None) -> list[Event]:
    """A sandbox starts and gets ready, or ends."""
    if how is not None:
        return [SandboxEnded(sandbox=name, how=how)]
    return [SandboxStarting(sandbox=name), SandboxReady(sandbox=name, ref=SandboxRef(id=name))]


def run_of(*middle: Event, exit_code: int | None = 0) -> list[Event]:
    """A whole run of group `unit` with `middle` in it; one that was cut if there is no exit code."""
    names = [event for event in middle if isinstance(event, TestDiscovered)]
    listed: list[Event] = [DiscoveryStarted(group="unit"), *names, DiscoveryFinished(group="unit", count=len(names))]
    rest = [event for event in middle if not isinstance(event, TestDiscovered)]
    last: list[Event] = [] if exit_code is None else [RunFinished(exit_code=exit_code)]
    return [started(), *listed, *sandbox(), *rest, *last]


def stamped(events: Iterable[Event], every: float = 0.1) -> list[Stamped]:
    """The events, at 0, `every`, 2 × `every`, … seconds."""
    return [Stamped(round(index * every, 6), event) for index, event in enumerate(events)]


def accounted(*events: Event) -> Accounting:
    """What the events add up to."""
    accounting = Accounting()
    for each in stamped(events):
        accounting.apply(each.event, each.at)
    return accounting
