"""What must hold of any simulated run, whatever happened in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from offload_core.abc import Test
from offload_core.events import (
    AttemptDropped,
    AttemptFinished,
    Interrupted,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    TestBegan,
    TestNotRun,
)
from tests.support.simulation import Backend, Simulated, simulate
from tests.support.virtual_time import run_virtually

NOTICE_SECS = 2.0
"""A death that nobody pushes is noticed within one polling interval; until then, calls on the dead cannot be helped."""


def check_sound(simulated: Simulated, tests: Sequence[Test], notice_secs: float = NOTICE_SECS) -> None:
    """Each test in exactly one state; each attempt with one end; each sandbox ended; none called after its death."""
    backend, records = simulated.backend, simulated.accounting.records
    known = {test.key for test in tests}
    assert set(records) <= known
    reasons = Counter(event.test for event in simulated.of(TestNotRun))
    for key, record in records.items():
        assert record.decided + (reasons[key] > 0) == 1 or (record.decided and record.not_run), (key, record)
        assert not record.again, (key, record)
    if not simulated.of(Interrupted) and not simulated.accounting.discovery_errors:
        assert set(records) == known, "a test was not heard of, and nobody said why"
    began = Counter((event.test, event.number) for event in simulated.of(TestBegan))
    ended = Counter((event.attempt.test, event.attempt.number) for event in simulated.of(AttemptFinished))
    ended += Counter((event.test, event.number) for event in simulated.of(AttemptDropped))
    assert max([*began.values(), *ended.values()], default=1) == 1
    if not reasons:
        assert not began - ended, "an attempt that began has an end"
    started = [event.sandbox for event in simulated.of(SandboxStarting)]
    assert Counter(started) == Counter(event.sandbox for event in simulated.of(SandboxEnded))
    assert {event.sandbox for event in simulated.of(SandboxReady)} <= set(started)
    assert backend.alive() == [], "a sandbox was left"
    pushed = 0.0 if backend.pushes else notice_secs
    late = [call for call in backend.calls_on_dead if call[1] > pushed]
    assert late == [], "what is known to be dead was called"


def sound_run(tests: Sequence[Test], backend: Backend, **how: Any) -> Simulated:
    """Simulate a run on a virtual clock, and check that it is sound."""
    simulated = run_virtually(simulate(tests, backend, limit=100_000.0, **how))
    check_sound(simulated, tests)
    return simulated
