"""Vitest from npm, installed once for each set of packages and kept for later runs of the tests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from attrs import frozen
from filelock import FileLock
from platformdirs import user_cache_path

EXAMPLE = Path(__file__).parents[2] / "docs/examples/vitest-example"

VITEST = "4.1.12"
"""The newest that runs on Node.js 20."""

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


@frozen
class Suite:
    """A published package that carries its tests, which Vitest runs."""

    package: str
    version: str

    def lay_out(self, directory: Path) -> None:
        """Make a project of its sources in a directory."""
        modules = packages({self.package: self.version, "vitest": VITEST})
        shutil.copytree(modules / self.package / "src", directory / "src")
        (directory / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
        (directory / "node_modules").symlink_to(modules)


# They are less than whole: what a package needs for its tests alone is not installed, so some modules do not import.
# That is part of what has to be the same.
ZOD = Suite("zod", "4.6.7")
INTERCEPTORS = Suite("@mswjs/interceptors", "0.41.9")


def alone(directory: Path, *words: str, env: Mapping[str, str]) -> dict[str, list[str]]:
    """What `vitest run` alone says, by id: `passed`, `failed`, `skipped`, once for each test of that id.

    A module that fails has an id of its own. It runs as in CI: snapshots are not written.
    """
    with tempfile.TemporaryDirectory() as reports:
        report = Path(reports) / "report.json"
        argv = ["node_modules/.bin/vitest", "run", "--reporter=json", f"--outputFile={report}", *words]
        where = {**env, "CI": "true"}
        subprocess.run(argv, cwd=directory, env=where, check=False, stdout=subprocess.DEVNULL, timeout=BOUND_SECS)
        told = json.loads(report.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for module in told["testResults"]:
        file = Path(module["name"]).relative_to(directory.resolve()).as_posix()
        if not module["assertionResults"]:
            found[file] = [module["status"]]
        for test in module["assertionResults"]:
            id = " > ".join([file, *test["ancestorTitles"], test["title"]])
            found.setdefault(id, []).append(_STATUS.get(test["status"], test["status"]))
    return {id: sorted(states) for id, states in found.items()}


def same_words(states: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Offload's states of tests, by id, in the words of `alone`."""
    return {id: sorted(_STATE.get(state, state) for state in all) for id, all in states.items()}


_STATUS = {"pending": "skipped", "todo": "skipped"}
_STATE = {"xfailed": "passed", "error": "failed"}
