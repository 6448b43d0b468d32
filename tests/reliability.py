"""Small suites on real local processes, through providers that fail by seed; and what must hold whatever happens.

    python tests/reliability.py --seeds 1000 --jobs 2

Each seed makes its own suite, its own number of sandboxes and its own faults. Two fault injectors are stacked around
the local provider: one lets calls fail, hang, time out, be refused or be slow, as often as it likes; the other kills
one sandbox or one session, once. (A second kill of one test while it runs alone is, by the rules, evidence against it.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
from attrs import define, evolve, field, frozen
from offload_local import LocalProvider

from offload_core.abc import (
    Collection,
    Command,
    Context,
    Discovered,
    Framework,
    Group,
    Launch,
    LivenessSettings,
    PrepareRequest,
    TestSession,
    Upload,
)
from offload_core.config.schema import OffloadTable, RetryTable
from offload_core.events import Bus, Stamped, TestNotRun, Warned
from offload_core.execution import RunRequest, StopRequest, execute
from offload_core.frameworks.warm import WarmSession
from offload_core.kit import launched
from offload_core.results.accounting import Accounting
from offload_core.testing import FaultPlan, FaultyProvider

SCRIPT = Path(__file__).with_name("reliability_session.py")
ENDS = ("passed",) * 6 + ("failed", "error", "skipped", "flaky", "crash")
LIMIT_SECS = 120.0
REASONS = ("sandboxes in a row ended before any test got a verdict", "sandboxes were created, and all ended")
"""Why a test may be left without a verdict: so many faults that no sandbox can be had."""


@frozen
class Options:
    """The suite file and the directory for traces."""

    suite: Path
    traces: Path


class ScriptFramework(Framework[Options]):
    """Runs `reliability_session.py` where pytest would run; all else is the pytest framework's."""

    Options = Options

    async def discover(self, group: Group, place: Launch) -> AsyncIterator[Discovered]:
        """From the suite file."""
        for test_id, does in json.loads(self.options.suite.read_text()).items():
            yield evolve(group.test(test_id, does["path"]), retries=does["retries"], individual=does["individual"])

    async def open(self, place: Launch, collection: Collection) -> TestSession:
        """Upload the script, and run it."""
        marker = secrets.token_hex(8)
        script = place.scratch / "session.py"
        await place.executor.upload([Upload(SCRIPT, script)])
        options = self.options
        argv = (sys.executable, "-I", "-S", str(script), marker, str(options.suite), str(options.traces))
        process = await place.executor.exec(launched(Command(argv=argv, cwd=place.root, env=place.env)))
        return WarmSession(process, marker, place)


def suite_of(dice: random.Random) -> dict[str, dict[str, object]]:
    """4 to 14 tests in a few modules."""
    suite: dict[str, dict[str, object]] = {}
    for number in range(dice.randint(4, 14)):
        suite[f"t{number}"] = {
            "ends": dice.choice(ENDS),
            "secs": dice.choice((0, 0, 0.01, 0.05)),
            "path": f"m{number // 4}",
            "retries": dice.choice((0, 0, 1, 2)),
            "individual": dice.random() < 0.05,
        }
    return suite


def plans_of(dice: random.Random) -> tuple[FaultPlan, FaultPlan]:
    """What kills, once; and what only disturbs."""
    lethal = dice.choice(("kill", "kill", "tear", "truncate", "none"))
    rate = dice.choice((0.2, 0.5))
    kills = FaultPlan(
        kill=rate if lethal == "kill" else 0,
        tear=rate if lethal == "tear" else 0,
        truncate=rate if lethal == "truncate" else 0,
        operations=["exec", "upload", "create"] if lethal == "kill" else ["exec"],
        most=1,
    )
    level = dice.choice((0.0, 0.05, 0.15))
    disturbs = FaultPlan(
        fail=level,
        hang=level / 3,
        capacity=level,
        unknown=level,
        delay=level * 2,
        max_delay_secs=0.1,
        unknown_probes=dice.choice((1, 3)),
    )
    return kills, disturbs


@define
class Outcome:
    """What one seed came to."""

    seed: int
    wrong: list[str] = field(factory=list)
    faults: Counter[str] = field(factory=Counter)
    states: Counter[str] = field(factory=Counter)
    secs: float = 0.0


async def _run(seed: int, directory: Path) -> Outcome:
    dice = random.Random(seed)
    suite = suite_of(dice)
    kills, disturbs = plans_of(dice)
    parallel = dice.randint(1, 4)
    (directory / "suite.json").write_text(json.dumps(suite))
    (directory / "traces").mkdir()
    liveness = LivenessSettings(interval_secs=0.1, timeout_secs=0.3, lost_after_secs=1.0)
    context = Context(name="local", project_dir=directory, max_parallel=parallel, liveness=liveness)
    inner = FaultyProvider(LocalProvider(LocalProvider.Options(), context), kills, seed)
    provider = FaultyProvider(inner, disturbs, seed + 1)
    accounting, events = Accounting(), list[Stamped]()
    start = time.monotonic()
    bus = Bus(clock=lambda: time.monotonic() - start)
    bus.consumers.extend([lambda stamped: accounting.apply(stamped.event, stamped.at), events.append])
    run_id = f"reliability-{seed}-{secrets.token_hex(3)}"
    request = RunRequest(
        run_id=run_id,
        provider=provider,
        framework=ScriptFramework(Options(directory / "suite.json", directory / "traces")),
        groups=(Group(name="all"),),
        project="reliability",
        project_dir=directory,
        offload=OffloadTable(max_parallel=parallel, test_timeout_secs=5.0),
        retry=RetryTable(attempts=4, initial_wait_secs=0.01, max_wait_secs=0.05, call_timeout_secs=0.5),
        prepare=PrepareRequest(context=directory),
    )
    outcome = Outcome(seed)
    try:
        async with asyncio.timeout(LIMIT_SECS):
            await execute(request, bus, StopRequest())
    except TimeoutError:
        outcome.wrong.append(f"still running after {LIMIT_SECS:g} s")
    outcome.secs = time.monotonic() - start
    outcome.faults.update(f"{fault.operation} {fault.fault}" for each in (inner, provider) for fault in each.injected)
    outcome.states.update(record.state.value for record in accounting.records.values())
    lethal = any(fault.fault in ("tear", "truncate") for fault in inner.injected)
    outcome.wrong += _wrong(suite, accounting, events, session_killed=lethal)
    outcome.wrong += await _left(run_id, [stamped.event for stamped in events])
    return outcome


def _wrong(
    suite: dict[str, dict[str, object]], accounting: Accounting, events: Sequence[Stamped], *, session_killed: bool
) -> list[str]:
    """What must hold of the verdicts."""
    wrong: list[str] = []
    if {record.test.id for record in accounting.records.values()} != set(suite):
        wrong.append("tests were lost or invented")
    for record in accounting.records.values():
        does = suite[record.test.id]
        allowed = {str(does["ends"])}
        if does["ends"] == "crash":
            allowed = {"crashed"}
        elif does["ends"] == "flaky":
            # Its first run may have been lost, or was all it got.
            allowed = {"flaky", "passed"} if does["retries"] else {"failed", "passed"}
        if session_killed and does["ends"] in ("passed", "skipped", "flaky"):
            allowed.add("flaky")  # a process that ends under a test is evidence against the test, until it passes alone
        if does["ends"] == "flaky" and session_killed:
            allowed |= {"failed"}
        numbers = [attempt.number for attempt in record.attempts]
        if len(numbers) != len(set(numbers)):
            wrong.append(f"{record.test.id}: an attempt was counted twice: {numbers}")
        if record.state.value == "not_run":
            if not record.not_run or not any(reason in record.not_run for reason in REASONS):
                wrong.append(f"{record.test.id}: not run, and why: {record.not_run}")
        elif record.state.value not in allowed:
            wrong.append(f"{record.test.id}: {record.state.value}, not {' or '.join(sorted(allowed))}")
    said = [each.event.test for each in events if isinstance(each.event, TestNotRun)]
    if len(said) != len(set(said)):
        wrong.append("a test was said not to have run twice")
    return wrong


async def _left(run_id: str, events: Sequence[object]) -> list[str]:
    """Processes and directories that are still there when the run has said that nothing is."""
    if any(isinstance(event, Warned) and "offload reap" in event.message for event in events):
        return []  # it has said that something may be left; the supervisors end with this process
    deadline = time.monotonic() + 10
    while True:
        left = [process.pid for process in psutil.process_iter(["environ"]) if _is_of(process, run_id)]
        if not left or time.monotonic() > deadline:
            return [f"processes are left: {left}"] if left else []
        await asyncio.sleep(0.05)


def _is_of(process: psutil.Process, run_id: str) -> bool:
    return (process.info["environ"] or {}).get("OFFLOAD_RUN_ID") == run_id


def run(seed: int) -> Outcome:
    """Run one seed, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="offload-reliability-") as directory:
        return asyncio.run(_run(seed, Path(directory)))


def main() -> int:
    """Run many seeds, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    faults: Counter[str] = Counter()
    states: Counter[str] = Counter()
    failed = 0
    longest, slowest = 0.0, 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(run, seeds):
            faults += outcome.faults
            states += outcome.states
            if outcome.secs > longest:
                longest, slowest = outcome.secs, outcome.seed
            failed += bool(outcome.wrong)
            for line in outcome.wrong:
                print(f"seed {outcome.seed}: {line} ({dict(outcome.faults)})", flush=True)
    print(f"faults: {dict(faults.most_common())}")
    print(f"states: {dict(states.most_common())}")
    print(f"longest run: {longest:.1f} s (seed {slowest})")
    print(f"{options.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
