"""Vitest from npm, installed once for each set of packages and kept for later runs of the tests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

EXAMPLE = Path(__file__).parents[2] / "docs/examples/vitest-example"

BOUND_SECS = 600.0
"""Ends an npm that hangs."""


def required(*programs: str) -> None:
    """Skip a test where a program is missing; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def packages(given: Mapping[str, str]) -> Path:
    """The `node_modules` with these packages, by name, in exact versions."""
    required("node", "npm")
    content = json.dumps({"private": True, "type": "module", "dependencies": dict(sorted(given.items()))})
    name = f"node-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    cache = user_cache_path("offload-tests", appauthor=False, ensure_exists=True)
    with FileLock(cache / f"{name}.lock"):
        if not (cache / name).exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                (Path(directory) / "package.json").write_text(content, encoding="utf-8")
                options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
                subprocess.run(["npm", "install", *options], cwd=directory, check=True, timeout=BOUND_SECS)
                shutil.copytree(directory, cache / name, symlinks=True)
    return cache / name / "node_modules"


def fill(directory: Path, version: str | None = None) -> None:
    """Copy the example into a project's directory, with its own Vitest or another one."""
    wanted = json.loads((EXAMPLE / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    if version is not None:
        wanted["vitest"] = version
    ignore = shutil.ignore_patterns("node_modules", "test-results")
    shutil.copytree(EXAMPLE, directory, ignore=ignore, dirs_exist_ok=True)
    (directory / "pytest.ini").unlink(missing_ok=True)
    (directory / "node_modules").symlink_to(packages(wanted))
