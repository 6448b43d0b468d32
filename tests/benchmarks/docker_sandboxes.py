"""The docker provider on a real engine: how soon a death is noticed, how soon its test runs elsewhere, and start-up.

*Noticed*: from `docker kill` to the death watch's verdict; the target is a median under 0.3 s.

*Start-up*: eight sandboxes until a trivial command has returned in each, against eight `docker run` of `true` at the
same time, interleaved; the target is a median ratio of at most 1.5.

*Requeued*: from the incident of a death to its lost test running in another container, from the run's own journal; the
target is at most one container's start and 2 s.

*Engine lost*: from `kill -9` of the engine to the end of the run, with exit code 3; the target is at most
`lost_after_secs`, as it is by default, and 15 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from offload_docker import DockerOptions, DockerProvider

from offload_core.abc import Command, Context, Image, LivenessSettings, SandboxSpec
from offload_core.events import Incident, IncidentKind, SandboxReady, SandboxStarting, Stamped, TestBegan
from offload_core.kit import launched, run_command
from offload_core.liveness import DeathWatch, Poller
from offload_core.results.journal import read_journal
from tests import docker_engine
from tests.benchmarks.workspace import machine
from tests.docker_engine import BASE, Engine

SANDBOXES = 8
NOTICED_SECS, REQUEUED_SECS, STARTED_RATIO = 0.3, 2.0, 1.5

CONFIG = """\
[offload]
max_parallel = 4
sandbox_project_root = "/work/project"
[provider]
type = "docker"
image = "{base}"
include_cwd = true
hosts = ["{url}"]
[framework]
type = "pytest"
command = "python3 -m pytest"
discover_in = "sandbox"
[groups.all]
"""

SUITE = """\
import time
import pytest

@pytest.mark.parametrize("n", range(60))
def test_it(n):
    time.sleep(0.25)
"""


def main() -> int:
    """Run the benchmark; see the module's docstring. 1 if it cannot run, or a run did not end well."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.docker_sandboxes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one of each: that it works, no figures")
    rounds = 1 if parser.parse_args().quick else 7
    if why := docker_engine.missing():
        print(f"not measured: {why}")
        return 1
    print(machine(), flush=True)
    engine = Engine(Path(tempfile.mkdtemp(prefix="offload-engine-")))
    engine.start()
    try:
        engine.import_base()
        _noticed(engine, rounds)
        _started(engine, rounds)
        return _requeued(engine, min(rounds, 5)) or _engine_lost(engine)
    finally:
        engine.stop()


def _provider(engine: Engine) -> DockerProvider:
    # The poller is told to be slow: what is measured is the push.
    context = Context(name="docker", max_parallel=SANDBOXES, liveness=LivenessSettings(interval_secs=10.0))
    return DockerProvider(DockerOptions(image=BASE, hosts=(engine.url,)), context)


def _spec(number: int) -> SandboxSpec:
    return SandboxSpec(name=f"bench-{number}", run_id="bench", image=Image(id=BASE))


# Noticed -------------------------------------------------------------------------------------------------------------


def _noticed(engine: Engine, rounds: int) -> None:
    times = asyncio.run(_kill_several(engine, 3 * rounds))
    met = "met" if statistics.median(times) < NOTICED_SECS else "missed"
    print(
        f"noticed, {len(times)} kills: median {statistics.median(times):.3f} s, longest {max(times):.3f} s "
        f"(target: median under {NOTICED_SECS:g} s, {met})",
        flush=True,
    )


async def _kill_several(engine: Engine, count: int) -> list[float]:
    async with _provider(engine) as provider:
        try:
            return [await _kill_one(engine, provider, number) for number in range(count)]
        finally:
            await provider.terminate_many(await provider.list("bench"))


async def _kill_one(engine: Engine, provider: DockerProvider, number: int) -> float:
    """Seconds from before the command that kills is started; so these include the start of that command."""
    sandbox = await provider.create(_spec(number))
    async with Poller(provider) as poller, DeathWatch(sandbox, poller) as watch:
        process = await sandbox.exec(launched(Command(argv=("sleep", "600"))))
        before = time.monotonic()
        killing = asyncio.create_task(asyncio.to_thread(engine.docker, "kill", sandbox.ref.id))
        await watch.gone
        noticed = time.monotonic() - before
        await killing
        await process.abandon()
    return noticed


# Started -------------------------------------------------------------------------------------------------------------


def _started(engine: Engine, rounds: int) -> None:
    print("pair  offload  docker run  ratio")
    ratios = []
    for number in range(rounds):
        if number % 2:
            theirs = _start_theirs(engine)
            ours = asyncio.run(_start_ours(engine))
        else:
            ours = asyncio.run(_start_ours(engine))
            theirs = _start_theirs(engine)
        ratios.append(ours / theirs)
        print(f"{number + 1:4}  {ours:7.2f}  {theirs:10.2f}  {ratios[-1]:5.2f}", flush=True)
    median = statistics.median(ratios)
    met = "met" if median <= STARTED_RATIO else "missed"
    print(f"start-up of {SANDBOXES}: median ratio {median:.2f} (target: at most {STARTED_RATIO:g}, {met})", flush=True)


async def _start_ours(engine: Engine) -> float:
    async with _provider(engine) as provider:

        async def one(number: int) -> None:
            sandbox = await provider.create(_spec(number))
            done = await run_command(sandbox, Command(argv=("true",)))
            assert done.exit.ok, done

        try:
            before = time.monotonic()
            await asyncio.gather(*map(one, range(SANDBOXES)))
            return time.monotonic() - before
        finally:
            await provider.terminate_many(await provider.list("bench"))


def _start_theirs(engine: Engine) -> float:
    before = time.monotonic()
    command = ["docker", "-H", engine.url, "run", "--label", "benchmark", "--init", BASE, "true"]
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(SANDBOXES)]
    codes = [each.wait() for each in running]
    taken = time.monotonic() - before
    assert codes == [0] * SANDBOXES, codes
    engine.docker("rm", "-f", *engine.docker("ps", "-aq", "--filter", "label=benchmark").stdout.split())
    return taken


# Requeued ------------------------------------------------------------------------------------------------------------


def _engine_lost(engine: Engine) -> int:
    """The last measurement: the engine is not there any more."""
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
        running = _start_run(engine, Path(directory))
        engine.kill()
        before = time.monotonic()
        code = running.wait()
    taken, allowed = time.monotonic() - before, LivenessSettings().lost_after_secs + 15
    met = "met" if taken <= allowed else "missed"
    print(f"engine lost: exit code {code} after {taken:.1f} s (target: exit code 3, at most {allowed:g} s, {met})")
    return int(code != 3)


@frozen
class Requeue:
    """From a run's journal, in seconds: how long the lost test waited, and how long its new container took to start."""

    waited: float
    start: float


def _requeued(engine: Engine, rounds: int) -> int:
    found: list[Requeue] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="offload-bench-") as directory:
            code = _run_with_a_kill(engine, Path(directory))
            journal = list(read_journal(Path(directory) / "test-results/events.jsonl"))
        if code != 0:
            print(f"a run with a killed container ended with exit code {code}")
            return 1
        found += requeues(journal)
    if len(found) < rounds:
        print(f"only {len(found)} of {rounds} killed containers were running a test")
    worst = max(found, key=lambda each: each.waited - each.start)
    met = "met" if all(each.waited <= each.start + REQUEUED_SECS for each in found) else "missed"
    print(
        f"requeued, {len(found)} deaths: median {statistics.median(each.waited for each in found):.2f} s after the "
        f"incident; worst {worst.waited:.2f} s, of which {worst.start:.2f} s are its container's start "
        f"(target: at most the start and {REQUEUED_SECS:g} s, {met})"
    )
    return 0


def _start_run(engine: Engine, directory: Path) -> subprocess.Popen[bytes]:
    """A run that has some tests behind it."""
    (directory / "test_a.py").write_text(SUITE)
    (directory / "offload.toml").write_text(CONFIG.format(base=BASE, url=engine.url))
    command = [sys.executable, "-m", "offload_core", "run", "--ci"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    with (directory / "output").open("wb") as output:
        running = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output, env=env)
    journal = directory / "test-results/events.jsonl"
    while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b'"AttemptFinished"') > 8):
        time.sleep(0.05)
    return running


def _run_with_a_kill(engine: Engine, directory: Path) -> int:
    running = _start_run(engine, directory)
    victim = engine.docker("ps", "-q", "--filter", "label=offload.name=s1").stdout.strip()
    killed = engine.docker("kill", victim)
    code = running.wait()
    return code if killed.returncode == 0 else killed.returncode


def requeues(journal: list[Stamped]) -> Iterator[Requeue]:
    """What became of the suspects of each dead sandbox."""
    starting = {each.event.sandbox: each.at for each in journal if isinstance(each.event, SandboxStarting)}
    ready = {each.event.sandbox: each.at for each in journal if isinstance(each.event, SandboxReady)}
    for number, stamped in enumerate(journal):
        incident = stamped.event
        if not isinstance(incident, Incident) or incident.kind is not IncidentKind.SANDBOX_DEAD:
            continue
        for test in incident.suspects:
            later = (each for each in journal[number:] if isinstance(each.event, TestBegan) and each.event.test == test)
            again = next(later)
            assert isinstance(again.event, TestBegan)
            where = again.event.sandbox
            yield Requeue(again.at - stamped.at, ready[where] - starting[where])


if __name__ == "__main__":
    sys.exit(main())
