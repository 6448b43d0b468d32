"""A large run that looks like a real one, as a journal: real execution and journal writer on simulated sandboxes.

Sandboxes start at different times, some die; tests fail, flake, hang, crash their sandbox, are skipped, and at the end
the slowest are hedged. The simulation has no output, so what failed gets a message, a traceback and captured output.
"""

from __future__ import annotations

import random
from asyncio import get_running_loop
from collections.abc import Iterator
from pathlib import Path

from attrs import define, evolve, field

from offload_core.abc import Attempt, LivenessSettings, Outcome, SandboxRef, Section, Test
from offload_core.errors import ReportError
from offload_core.events import AttemptFinished, Consumer, RunFinished, RunStarted, Stamped
from offload_core.results.accounting import exit_code
from offload_core.results.directory import JOURNAL
from offload_core.results.journal import JournalWriter
from tests.support.simulation import Backend, Behaviour, Simulated, simulate
from tests.support.virtual_time import run_virtually

AREAS = ("billing", "search", "catalog", "accounts", "shipping", "reports", "payments", "notifications")
THINGS = ("invoice", "query", "refund", "cart", "session", "export", "ledger", "webhook", "address", "coupon")
VERBS = ("rejects", "keeps", "rounds", "merges", "expires", "retries", "parses", "formats", "locks", "orders")
PER_MODULE = 25
TRACEBACK = """\
    def {function}(client, {thing}):
        response = client.post("/{area}/{thing}", json={{"amount": "10.00", "currency": "EUR"}})
>       assert response.json()["total"] == expected
E       AssertionError: assert Decimal('{got}') == Decimal('{wanted}')
E         +  where Decimal('{got}') = <Response [200]>.json()['total']

{path}:{line}: AssertionError"""
OUTPUT = """\
12:04:31 INFO  {area}.api    POST /{area}/{thing} started
12:04:31 DEBUG {area}.store  SELECT * FROM {thing}s WHERE tenant = 'acme' FOR UPDATE
12:04:32 WARN  {area}.rates  rate for EUR is 26 h old, using it anyway
"""


@define
class LargeRun:
    """The recipe; all of it follows from the seed."""

    tests: int = 5_000
    sandboxes: int = 200
    seed: int = 1
    dice: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def write(self, directory: Path) -> Path:
        """Play the run and write its journal into the directory. Returns the journal's path."""
        listed = list(self._listed())
        suite = {test.key: self._behaviour(number) for number, test in enumerate(listed)}
        failures: list[ReportError] = []
        path = directory / JOURNAL
        journal = JournalWriter(path, failures)
        journal(Stamped(0.0, self._first()))
        by_key = {test.key: test for test in listed}

        def record(stamped: Stamped) -> None:
            if isinstance(event := stamped.event, AttemptFinished):
                told = self._told(event.attempt, by_key[event.attempt.test])
                stamped = Stamped(stamped.at, evolve(event, attempt=told))
            journal(stamped)

        simulated = self._play(listed, suite, record)
        end = simulated.events[-1].at
        journal(Stamped(end, RunFinished(exit_code=exit_code(simulated.accounting))))
        journal.close()
        if failures:
            raise failures[0]
        return path

    def _play(self, listed: list[Test], suite: dict[str, Behaviour], record: Consumer) -> Simulated:
        doom = random.Random(self.seed + 1)
        work = sum(behaviour.secs for behaviour in suite.values()) / self.sandboxes

        def created(ref: SandboxRef) -> None:
            if doom.random() < 0.1 and len(backend.deaths) <= self.sandboxes:
                after = doom.uniform(0.1, 0.9) * work
                get_running_loop().call_later(
                    after, lambda: None if backend.deaths[ref].is_set() else backend.kill(ref)
                )

        backend = Backend(
            suite,
            start_secs=lambda number: doom.uniform(3.0, 9.0),
            session_secs=1.5,
            close_secs=0.6,
            on_create=created,
        )
        return run_virtually(
            simulate(
                listed,
                backend,
                max_parallel=self.sandboxes,
                offload={"test_timeout_secs": 25.0},
                liveness=LivenessSettings(),
                module_secs=0.02,
                consumers=[record],
                estimates={key: min(each.secs, 12.0) for key, each in suite.items() if each.secs < 30.0},
                limit=1e6,
            )
        )

    def _first(self) -> RunStarted:
        return RunStarted(
            offload="0.1.0",
            run_id="20261114-221320-4be1c7",
            epoch=1_794_694_400.0,
            argv=("offload", "run", "-p", str(self.sandboxes)),
            provider="memory",
            framework="memory",
            max_parallel=self.sandboxes,
            config_path="offload.toml",
            commit="9f2c41d07be3a5518c60d4f7a1e2b3c4d5e6f708",
            groups=("all",),
        )

    def _listed(self) -> Iterator[Test]:
        for number in range(self.tests):
            module, place = divmod(number, PER_MODULE)
            area, thing = AREAS[module % len(AREAS)], THINGS[module // len(AREAS) % len(THINGS)]
            path = f"tests/{area}/test_{thing}_{module // 80 + 1}.py"
            function = f"test_{VERBS[place % 10]}_{thing}"
            scope = f"Test{thing.capitalize()}::" if module % 3 == 0 else ""
            id = f"{path}::{scope}{function}[{['eur', 'usd', 'gbp'][place // 10]}-{place}]"
            yield Test(
                key=f"all:{number}",
                id=id,
                group="all",
                path=path,
                affinity=path,
                retries=int(number != self.tests // 5),
                file=path,
                line=12 + 9 * place,
            )

    def _behaviour(self, number: int) -> Behaviour:
        secs = min(self.dice.lognormvariate(0.0, 0.9) * 1.6, self.dice.uniform(12.0, 18.0))
        outcomes: tuple[str, ...] = ("passed",)
        ends = ""
        match self.dice.random():
            case chance if chance < 0.004:
                outcomes = ("failed", "failed")
            case chance if chance < 0.008:
                outcomes = ("failed", "passed")
            case chance if chance < 0.009:
                outcomes = ("error", "error")
            case chance if chance < 0.03:
                outcomes, secs = ("skipped",), 0.01
            case chance if chance < 0.035:
                outcomes = ("xfailed",)
            case chance if chance < 0.036:
                outcomes = ("xpassed",)
        if number == self.tests // 3:
            ends = "sandbox"
        elif number == self.tests // 2:
            ends = "process"
        elif number == self.tests // 5:
            secs = 1e5
        elif number in (7, 1200, 3100):
            secs = 22.0
        return Behaviour(secs=secs, outcomes=outcomes, ends=ends)

    def _told(self, attempt: Attempt, test: Test) -> Attempt:
        if attempt.outcome in (Outcome.SKIPPED, Outcome.XFAILED):
            return evolve(attempt, message="needs a currency service")
        if attempt.outcome not in (Outcome.FAILED, Outcome.ERROR):
            return attempt
        name = test.id.partition("[")[0].split("::")[-1]
        words = {
            "function": name,
            "thing": name.rsplit("_", 1)[1],
            "area": test.path.split("/")[1],
            "path": test.path,
            "line": (test.line or 0) + 3,
            "got": f"{self.dice.uniform(9, 10):.2f}",
            "wanted": "10.00",
        }
        return evolve(
            attempt,
            message=f"AssertionError: assert Decimal('{words['got']}') == Decimal('10.00')",
            details=TRACEBACK.format(**words),
            output=(Section("Captured log call", OUTPUT.format(**words)),),
        )
