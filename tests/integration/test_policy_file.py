"""The policy at its real place, /etc/offload/policy.toml, in a mount namespace that has an /etc of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from offload_core.config.policy import POLICY_FILE

POLICY = """
[policy]
locked = ["offload.runner", "provider", "offload.max_parallel"]
lock_reason = "costs are budgeted"

[offload]
runner = "ci"
max_parallel = 2

[runners.ci.provider]
type = "local"
shell = "/bin/sh"
"""

PROJECT = """
[offload]
[framework]
type = "pytest"
[groups.all]
[runners.mine.provider]
type = "local"
shell = "/bin/bash"
"""

IN_ETC = 'mount --bind "$0" /etc && exec "$@"'

Offload = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def offload(tmp_path: Path) -> Offload:
    """Runs `offload` under the policy, in a project, with only the variables that are given."""
    etc = tmp_path / "etc"
    (etc / "offload").mkdir(parents=True)
    (etc / "offload/policy.toml").write_text(POLICY, encoding="utf-8")
    for name in ("passwd", "group", "ld.so.cache"):
        if Path("/etc", name).is_file():
            shutil.copy(Path("/etc", name), etc)
    prefix = ["unshare", "--mount", "sh", "-c", IN_ETC, str(etc)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("cannot give a process an /etc of its own (needs Linux, root and unshare)")
    project = tmp_path / "project"
    project.mkdir()
    (project / "offload.toml").write_text(PROJECT, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (project / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")

    def offload(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-m", "offload_core", *arguments]
        environment = {"PATH": os.defpath, **(env or {})}
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return offload


def test_nothing_gets_around_it(offload: Offload, tmp_path: Path) -> None:
    """It holds without any variable; variables, flags, files and directories that try are errors that say so."""
    assert Path("/etc/offload/policy.toml") == POLICY_FILE
    ran = offload("run", "--ci")
    assert ran.returncode == 0, ran.stderr
    told = offload("validate").stdout
    assert "Runner: ci (/etc/offload/policy.toml:10)" in told
    assert "Max parallel: 2" in told

    runners = "[runners.ci.provider]\ntype = 'local'\n"
    elsewhere = tmp_path / "offload/runners.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(runners, encoding="utf-8")
    other = tmp_path / "project/other.toml"
    other.write_text(PROJECT.replace("[offload]", "[offload]\nrunner = 'mine'"), encoding="utf-8")
    by = "locked by the policy (/etc/offload/policy.toml:3): costs are budgeted"
    claim = f"{elsewhere}:1: runners.ci: the policy defines the runner 'ci'"
    attempts: list[tuple[list[str], dict[str, str], str]] = [
        (["run", "--runner", "mine"], {}, f"--runner: offload.runner: {by}"),
        (["run", "-p", "3"], {}, f"--parallel: offload.max_parallel: {by}"),
        (["run", "--env", "A=b"], {}, f"--env A: provider.env.A: {by}"),
        (["run", "-c", "other.toml"], {}, f"other.toml:3: offload.runner: {by}"),
        (["run"], {"OFFLOAD_OFFLOAD__RUNNER": "mine"}, f"OFFLOAD_OFFLOAD__RUNNER: offload.runner: {by}"),
        (["collect"], {"OFFLOAD_PROVIDER__SHELL": "x"}, f"OFFLOAD_PROVIDER__SHELL: provider.shell: {by}"),
        (["doctor"], {"OFFLOAD_RUNNERS": str(elsewhere)}, claim),
        (["reap", "--all"], {"XDG_CONFIG_DIRS": str(tmp_path)}, claim),
        (["logs"], {"XDG_CONFIG_HOME": str(tmp_path)}, claim),
    ]
    for arguments, variables, words in attempts:
        done = offload(*arguments, env=variables)
        assert done.returncode == 4, arguments
        assert words in done.stderr
        assert done.stdout == ""


def test_one_that_is_broken_lets_nothing_run(offload: Offload, tmp_path: Path) -> None:
    """Exit code 4, and the reason."""
    (tmp_path / "etc/offload/policy.toml").write_text("[policy", encoding="utf-8")
    done = offload("run")
    assert (done.returncode, done.stdout) == (4, "")
    assert "/etc/offload/policy.toml:1:8: not valid TOML" in done.stderr
