"""Whole runs of a generated suite over loopback sandboxes, some of which are killed on the way.

By hand, with a table of how soon lost tests ran elsewhere: `python suite_runs.py --seeds 30`; with `--script`, by
`type = "default"` and `@modal_sandbox.py` instead of this package's provider.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from loopback import Loopback, RouterMode, Status

ROUTERS: tuple[RouterMode, ...] = ("refuse", "hang", "synhole", "gone")
STATUSES: tuple[Status, ...] = ("TERMINATED", "KERNEL_OOM_KILL", "INTERNAL_FAILURE", "TIMEOUT", "SUCCESS")
MODULES, TESTS_IN_EACH = 20, 20
SANDBOXES = 8
_PATIENCE_SECS = 300.0

_MODULE = """\
import time

import pytest


@pytest.mark.parametrize("number", range({count}))
def test_number(number):
    time.sleep(0.02)
"""
_CONFIGURATION = """\
[offload]
max_parallel = {sandboxes}
sandbox_project_root = "/app"
hedge = false

[provider]
{provider}

[framework]
type = "pytest"
command = "{python} -m pytest"

[groups.all]
"""
_BY_PROVIDER = """\
type = "modal"
image = "debian:12"
include_cwd = true
"""
_BY_SCRIPT = """\
type = "default"
prepare_command = "python3 @modal_sandbox.py prepare Dockerfile --include-cwd"
create_command = "python3 @modal_sandbox.py create --cpu {cpu_cores} {image_id}"
exec_command = "python3 @modal_sandbox.py exec {sandbox_id} {command}"
download_command = "python3 @modal_sandbox.py download {sandbox_id} {paths}"
destroy_command = "python3 @modal_sandbox.py destroy {sandbox_id}"
""".replace("python3", sys.executable)


@frozen
class Kill:
    """A sandbox that was killed, when, and how its worker behaved from then on. Seconds since the epoch."""

    sandbox: str
    at: float
    router: RouterMode
    status: Status


@frozen
class Run:
    """What a run did: its exit code, its journal, and what was killed under it."""

    code: int
    said: str
    events: Sequence[dict[str, Any]]
    kills: Sequence[Kill] = field(factory=list)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["event"] == name]

    @property
    def verdicts(self) -> Counter[str]:
        """How often each test was completed."""
        attempts = (event["attempt"] for event in self.of("AttemptFinished"))
        return Counter(attempt["test"] for attempt in attempts if attempt["outcome"] != "lost")

    @property
    def recoveries(self) -> list[float]:
        """For each lost test, the seconds from the announcement of the death until it began elsewhere."""
        epoch = self.of("RunStarted")[0]["epoch"]
        ids = {event["ref"]["id"]: event["sandbox"] for event in self.of("SandboxReady")}
        killed = {ids[kill.sandbox]: kill.at - epoch for kill in self.kills if kill.sandbox in ids}
        found = []
        for event in self.of("AttemptFinished"):
            attempt = event["attempt"]
            if attempt["outcome"] == "lost":
                again = [
                    began["at"]
                    for began in self.of("TestBegan")
                    if began["test"] == attempt["test"] and began["number"] > attempt["number"]
                ]
                found.append(min(again) - killed[attempt["sandbox"]])
        return found

    @property
    def starts(self) -> list[float]:
        """How long sandboxes took from the order until their first session was open, in seconds."""
        ordered = {event["sandbox"]: event["at"] for event in self.of("SandboxStarting")}
        return [event["at"] - ordered[event["sandbox"]] for event in self.of("SessionOpened")]


def project(directory: Path, *, script: bool = False) -> None:
    """Write the suite and its configuration."""
    for number in range(MODULES):
        (directory / f"test_module_{number}.py").write_text(_MODULE.format(count=TESTS_IN_EACH))
    (directory / "Dockerfile").write_text("FROM debian:12\n")
    (directory / ".dockerignore").write_text("test-results\n**/__pycache__\n")
    (directory / "offload.toml").write_text(
        _CONFIGURATION.format(
            sandboxes=SANDBOXES, python=sys.executable, provider=_BY_SCRIPT if script else _BY_PROVIDER
        )
    )


def run(server: Loopback, directory: Path, *, seed: int | None = None, victims: int = 3) -> Run:
    """Run the suite; with a seed, so many sandboxes are killed at moments that it decides."""
    journal = directory / "test-results" / "events.jsonl"
    journal.unlink(missing_ok=True)
    command = [sys.executable, "-m", "offload_core", "run", "--color", "never"]
    environment = {**os.environ, **server.environment}
    process = subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    kills: list[Kill] = []
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        if seed is not None:
            killing = threading.Thread(target=_kill, args=(server, journal, random.Random(seed), victims, kills, over))
            killing.start()
            stack.callback(killing.join)
            stack.callback(over.set)
        said, _ = process.communicate(timeout=_PATIENCE_SECS)
    return Run(process.returncode, said, list(_events(journal)), kills)


def _kill(
    server: Loopback, journal: Path, dice: random.Random, victims: int, kills: list[Kill], over: threading.Event
) -> None:
    moments = sorted(dice.sample(range(1, MODULES * TESTS_IN_EACH * 9 // 10), victims))
    for moment in moments:
        while journal_count(journal, "AttemptFinished") < moment:
            if over.wait(0.005):
                return
        alive = [sandbox.id for sandbox in server.sandboxes() if sandbox.alive]
        kill = Kill(dice.choice(alive), time.time(), dice.choice(ROUTERS), dice.choice(STATUSES))
        server.kill(kill.sandbox, status=kill.status, router=kill.router)
        kills.append(kill)


def journal_count(journal: Path, name: str) -> int:
    """How many events of a kind the journal has by now."""
    try:
        return journal.read_text("utf-8").count(f'"event":"{name}"')
    except FileNotFoundError:
        return 0


def _events(journal: Path) -> Iterator[dict[str, Any]]:
    for line in journal.read_text("utf-8").splitlines():
        yield json.loads(line)


def main() -> None:
    """Print one line for each seed, and the figures of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--script", action="store_true")
    options = parser.parse_args()
    seeds = options.seeds
    recoveries: list[float] = []
    starts: list[float] = []
    with Loopback() as server, tempfile.TemporaryDirectory() as directory:
        project(Path(directory), script=options.script)
        for seed in range(seeds):
            result = run(server, Path(directory), seed=seed)
            complete = len(result.verdicts) == MODULES * TESTS_IN_EACH and set(result.verdicts.values()) == {1}
            left = sum(sandbox.alive for sandbox in server.sandboxes())
            ways = ", ".join(f"{kill.status} {kill.router}" for kill in result.kills)
            print(
                f"seed {seed:2}: exit {result.code}, {len(result.verdicts)} verdicts, each once: {complete}, "
                f"left: {left}, lost and run again: {len(result.recoveries)}, "
                f"the last after {max(result.recoveries, default=0):.2f} s; {ways}",
                flush=True,
            )
            recoveries += result.recoveries
            starts += result.starts
    if recoveries:
        print(
            f"a lost test ran elsewhere after {statistics.median(recoveries):.2f} s in the median and "
            f"{max(recoveries):.2f} s at most; a sandbox started in {statistics.median(starts):.2f} s, "
            f"{max(starts):.2f} s at most"
        )


if __name__ == "__main__":
    main()
