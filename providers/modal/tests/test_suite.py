"""Whole runs of `offload run` over loopback sandboxes, by the real SDK."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import suite_runs
from at_modal import created, provider
from loopback import Loopback
from suite_runs import MODULES, SANDBOXES, TESTS_IN_EACH, project

_PATIENCE_SECS = 120.0

ALL = MODULES * TESTS_IN_EACH


def test_whole_suite(own_loopback: Loopback, tmp_path: Path) -> None:
    """Four hundred tests run in warm sessions of eight sandboxes, each in exactly one, and no sandbox is left."""
    project(tmp_path)
    run = suite_runs.run(own_loopback, tmp_path)
    assert run.code == 0, run.said
    assert len(run.verdicts) == ALL
    assert set(run.verdicts.values()) == {1}
    assert 1 < len(run.of("SessionOpened")) <= SANDBOXES, "a session serves many tests"
    assert not [sandbox for sandbox in own_loopback.sandboxes() if sandbox.alive]
    summary = json.loads((tmp_path / "test-results" / "summary.json").read_text())
    assert summary["counts"]["passed"] == ALL


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))])
def test_three_of_eight_die(own_loopback: Loopback, tmp_path: Path, seed: int) -> None:
    """Three sandboxes die on the way: every test is completed once, nothing fails, and no sandbox is left."""
    project(tmp_path)
    run = suite_runs.run(own_loopback, tmp_path, seed=seed)
    assert run.code == 0, run.said
    assert len(run.kills) == 3
    assert len(run.verdicts) == ALL
    assert set(run.verdicts.values()) == {1}
    assert not [sandbox for sandbox in own_loopback.sandboxes() if sandbox.alive]
    for kill in run.kills:
        calls = own_loopback.calls(kill.sandbox)
        assert calls["SandboxTerminateV2"] <= 1


@pytest.mark.nightly
def test_three_of_eight_die_under_the_script(own_loopback: Loopback, tmp_path: Path) -> None:
    """The same by commands: what `@modal_sandbox.py` says of a death is believed, and no failure is made of it."""
    pytest.importorskip("offload_command", reason="needs the provider that runs commands")
    project(tmp_path, script=True)
    run = suite_runs.run(own_loopback, tmp_path, seed=0)
    assert run.code == 0, run.said
    assert len(run.kills) == 3
    assert len(run.verdicts) == ALL
    assert set(run.verdicts.values()) == {1}
    assert len([each for each in run.of("Incident") if each["kind"] == "sandbox_dead"]) == 3
    assert not [sandbox for sandbox in own_loopback.sandboxes() if sandbox.alive]


def test_killed_run_is_reaped(own_loopback: Loopback, tmp_path: Path) -> None:
    """What a run that was killed left behind is found by its tags, and ended; another run's sandbox is not."""
    project(tmp_path)
    offload = [sys.executable, "-m", "offload_core"]
    environment = {**os.environ, **own_loopback.environment}
    journal = tmp_path / "test-results" / "events.jsonl"
    with subprocess.Popen([*offload, "run"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + _PATIENCE_SECS
        while suite_runs.journal_count(journal, "AttemptFinished") < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        running.kill()
    killed = {sandbox.tags["offload-run"] for sandbox in own_loopback.sandboxes() if sandbox.alive}
    assert len(killed) == 1, "the run was killed too late"
    bystander = asyncio.run(_of_another_run())
    reap = [*offload, "reap", "--run", killed.pop(), "--yes"]
    done = subprocess.run(reap, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [sandbox.id for sandbox in own_loopback.sandboxes() if sandbox.alive] == [bystander]


async def _of_another_run() -> str:
    async with provider() as maker:
        sandbox = await created(maker, run_id="another")
        listed = {ref.run_id: ref for ref in await maker.list()}
        assert listed["another"].expires == sandbox.ref.expires
        assert listed["another"].name == "one"
        return sandbox.ref.id
