"""The example of an organization's package is installed from its folder, beside the core, and its runners are used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "acme-offload-runners"

PROJECT = """
[offload]
runner = "acme-small"
[framework]
type = "pytest"
[groups.all]
"""


def installed(environment: Path) -> Path:
    """A new virtual environment with the core, the local provider, pytest and the example; its `offload`."""
    python = environment / "bin/python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["--constraint", str(ROOT / "tests/constraints.txt")]
    packages = [str(ROOT), str(ROOT / "providers/local"), str(EXAMPLE), "pytest"]
    subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", str(environment)], check=True)
    # once for all that is built, instead of once for each
    subprocess.run([*pip, *constraints, "hatchling"], check=True)
    subprocess.run([*pip, *constraints, "--no-build-isolation", *packages], check=True)
    return environment / "bin/offload"


def test_the_package_is_installed_and_its_runners_are_used(tmp_path: Path) -> None:
    """From the entry point to the run: values count, locks hold, and the file in the package is what is named."""
    offload = installed(tmp_path / "environment")
    project = tmp_path / "project"
    project.mkdir()
    (project / "offload.toml").write_text(PROJECT, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (project / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **variables}
        return subprocess.run(
            [str(offload), *arguments], cwd=project, env=env, capture_output=True, text=True, check=False
        )

    listed = json.loads(run("runners", "--json").stdout)
    assert [each["name"] for each in listed] == ["acme", "acme-large", "acme-small"]
    assert {each["origin"] for each in listed} == {"package: the package acme-offload-runners 0.1.0"}
    ran = run("run", "--ci")
    assert ran.returncode == 0, ran.stderr
    summary = json.loads((project / "build/offload/summary.json").read_text(encoding="utf-8"))
    assert (summary["total"], summary["max_parallel"]) == (1, 2)
    refused = run("validate", OFFLOAD_RETRY__ATTEMPTS="9")
    assert refused.returncode == 4
    assert "OFFLOAD_RETRY__ATTEMPTS: retry.attempts: locked by the runner 'acme' (" in refused.stderr
    assert "acme_offload_runners/runners.toml:3): sandboxes that outlive their run are paid for" in refused.stderr
    shown = run("config", "explain", "provider.isolation", "--runner", "acme-large")
    assert 'provider.isolation = "copy"' in shown.stdout
    assert "locked by the runner 'acme-large'" in shown.stdout
