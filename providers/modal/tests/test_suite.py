"""Whole runs of `offload run` over loopback sandboxes, by the real SDK."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import suite_runs
from loopback import Loopback
from suite_runs import MODULES, SANDBOXES, TESTS_IN_EACH, project

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("seed", range(3))
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
