"""Hundreds of small simulated runs with whatever can go wrong, by seed; and what must hold whatever happens."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from offload_core.abc import Exit, LivenessSettings, Outcome, Test
from offload_core.errors import CapacityExhausted, CreateFailed
from offload_core.events import Stamped
from offload_core.execution import ArtefactRequest, StopRequest
from offload_core.ledger import Record
from offload_core.results.trace import trace_json
from tests.support.simulation import Backend, Behaviour, Simulated, simulate
from tests.support.soundness import check_sound
from tests.support.synthetic import started
from tests.support.trace_rules import check_trace
from tests.support.virtual_time import run_virtually

RUNS = 300
PER_TEST = 20
HANG = 1e6
COLLECT = ArtefactRequest(globs=("*",), failure_only=False, output_dir=Path(), claim=Path, owns=lambda path: False)


class Chaos:
    """One run: a suite, a backend and a series of misfortunes, all made from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = chance = random.Random(seed)
        self.suite: dict[str, Behaviour] = {}
        self.tests: list[Test] = []
        for module in range(chance.randrange(1, 8)):
            path = f"test_{module}.py"
            alone = chance.random() < 0.15
            for _ in range(chance.randrange(1, 10)):
                key = f"t{len(self.tests)}"
                self.suite[key] = self._behaviour()
                retries = chance.choice([0, 0, 1, 2])
                self.tests.append(
                    Test(key=key, id=key, group="all", path=path, affinity=path, retries=retries, individual=alone)
                )
        session_secs, start_secs, slow = chance.uniform(0, 3), chance.uniform(0, 10), chance.random() < 0.3
        self.backend = Backend(
            suite=self.suite,
            start_secs=lambda number: start_secs * (1 + 5 * slow * (number % 3 == 0)),
            session_secs=session_secs,
            refuse=self._refuse,
            pushes=chance.random() < 0.7,
            close_secs=chance.choice([0.0, 0.0, 2.0]),
            batches=chance.random() < 0.25,
        )
        self.refusals = chance.choice([0.0, 0.0, 0.2])
        self.stop = StopRequest()
        self.stop_at = chance.uniform(0, 60) if chance.random() < 0.15 else None
        self.offload = {
            "test_timeout_secs": 40.0,
            "hedge": chance.random() < 0.8,
            "max_replacements": chance.choice([None, None, 2]),
        }
        self.fail_fast = chance.random() < 0.1
        self.artefacts = COLLECT if chance.random() < 0.3 else None
        self.backend.collect_secs = chance.choice([0.0, 0.5, 2.0, HANG])

    def _behaviour(self) -> Behaviour:
        chance = self.random
        secs = chance.choice([0.0, chance.uniform(0, 0.3), chance.uniform(0, 5)])
        kind = chance.random()
        if kind < 0.82:
            return Behaviour(secs=secs)
        if kind < 0.88:
            return Behaviour(secs=secs, outcomes=("failed",))
        if kind < 0.92:
            return Behaviour(secs=secs, outcomes=("failed", "passed"))
        if kind < 0.94:
            return Behaviour(secs=secs, ends="process")
        if kind < 0.96:
            return Behaviour(secs=secs, ends="sandbox")
        if kind < 0.97:
            return Behaviour(secs=secs, ends="exit")
        if kind < 0.98:
            return Behaviour(secs=HANG)
        if kind < 0.99:
            return Behaviour(secs=secs, teardown_fails=True)
        return Behaviour(secs=30.0, then_secs=0.1)

    def _refuse(self, number: int) -> Exception | None:
        dice = self.random.random()
        if dice < self.refusals:
            return CapacityExhausted("full")
        return CreateFailed("bad luck") if dice < 1.2 * self.refusals else None

    async def misfortunes(self) -> None:
        """Kill, silence and crash, a few times."""
        chance = self.random
        crashes = 1
        for _ in range(chance.choice([0, 1, 2, 4])):
            await asyncio.sleep(chance.choice([0.0, chance.uniform(0, 3), chance.uniform(0, 30)]))
            alive = [ref for ref in self.backend.alive() if ref not in self.backend.silent]
            if not alive:
                continue
            ref = chance.choice(alive)
            how = chance.choice(["kill", "kill", "silence", "crash"])
            if how == "silence":
                self.backend.silent.add(ref)
            elif how == "crash" and crashes:
                crashes -= 1
                for process in self.backend.processes.get(ref, ()):
                    process.end(Exit(code=139))
            else:
                self.backend.kill(ref)

    async def run(self) -> Simulated:
        """The whole run."""
        if self.stop_at is not None:
            asyncio.get_running_loop().call_later(self.stop_at, self.stop.ask, 2)
        harm = asyncio.create_task(self.misfortunes())
        try:
            return await simulate(
                self.tests,
                self.backend,
                max_parallel=self.random.randrange(1, 7),
                offload=self.offload,
                module_secs=self.random.choice([0.0, 1.0]),
                liveness=LivenessSettings(),
                stop=self.stop,
                fail_fast=self.fail_fast,
                artefacts=self.artefacts,
                sandboxes_hint=self.random.randrange(1, 4),
                limit=20_000,
            )
        finally:
            harm.cancel()
            await asyncio.wait({harm})


def explained(record: Record, behaviour: Behaviour) -> bool:
    """Whether a test's state follows from what it does and from what was seen to happen to it."""
    outcomes = [attempt.outcome for attempt in record.attempts]
    state = record.state.value
    ended = sum(outcome in (Outcome.CRASHED, Outcome.LOST) for outcome in outcomes)
    if state == "not_run":
        return record.not_run is not None
    if state == "crashed":
        return ended >= 2 or record.not_run is not None
    if state == "flaky":
        return any(outcome.bad for outcome in outcomes)
    expected = {behaviour.outcomes[0], behaviour.outcomes[-1]} if not behaviour.ends else {behaviour.outcomes[-1]}
    if behaviour.secs == HANG:
        expected = {"timed_out"}
    if behaviour.teardown_fails:
        expected.add("error")
    return state in expected


@pytest.mark.parametrize("first", range(0, RUNS, PER_TEST))
def test_whatever_happens(first: int) -> None:
    """Every run ends, in sound accounts and a sound trace, with no test blamed for what it did not do."""
    for seed in range(first, first + PER_TEST):
        chaos = Chaos(seed)
        simulated = run_virtually(chaos.run())
        check_sound(simulated, chaos.tests)
        check_trace("".join(trace_json([Stamped(0.0, started()), *simulated.events])), until=simulated.events[-1].at)
        for key, record in simulated.accounting.records.items():
            assert explained(record, chaos.suite[key]), (seed, key, chaos.suite[key], record)


def test_seeds_differ() -> None:
    """The fuzz sees runs that end well, run short, lose sandboxes and convict tests: it tries what it claims to."""
    seen = set()
    for seed in range(40):
        simulated = run_virtually(Chaos(seed).run())
        seen |= {record.state.value for record in simulated.accounting.records.values()}
        seen |= {incident.kind.value for incident in simulated.accounting.incidents}
    assert seen >= {
        "passed",
        "failed",
        "flaky",
        "crashed",
        "timed_out",
        "not_run",
        "sandbox_dead",
        "sandbox_lost",
        "session_crashed",
    }
