"""Crates of the registry that carry their tests, as one workspace to run: for the tests and for the benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from junitparser import JUnitXml

CRATES = {"aho-corasick": "1.1.5", "strsim": "0.11.1"}
"""They need next to nothing else, and have 163 and 96 tests."""

CONFIG = """\
[offload]
max_parallel = 2

[provider]
type = "local"

[framework]
type = "nextest"

[groups.all]
"""


def environment(tool: Path) -> dict[str, str]:
    """As a user's, with cargo-nextest."""
    hidden = ("OFFLOAD_", "NEXTEST_", "CARGO_", "PYTEST_", "TOX_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    kept.pop("CI", None)
    return kept | {"PATH": f"{tool}{os.pathsep}{kept['PATH']}"} | _homes()


def _homes() -> dict[str, str]:
    """Where cargo itself is told to look, which is no setting of a project."""
    return {name: os.environ[name] for name in ("CARGO_HOME",) if name in os.environ}


def unpack(directory: Path, env: Mapping[str, str]) -> None:
    """Download the crates, and make a workspace of copies of them that are not read-only.

    Raises:
        subprocess.CalledProcessError: cargo failed.
    """
    fetched = directory / "fetched"
    (fetched / "src").mkdir(parents=True)
    (fetched / "src/lib.rs").touch()
    wanted = "".join(f'{name} = "={version}"\n' for name, version in CRATES.items())
    package = '[package]\nname = "fetched"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
    (fetched / "Cargo.toml").write_text(package + wanted, encoding="utf-8")
    argv = ["cargo", "metadata", "--format-version", "1", "--quiet"]
    found = subprocess.run(argv, cwd=fetched, env=dict(env), check=True, capture_output=True)
    for each in json.loads(found.stdout)["packages"]:
        if each["name"] in CRATES:
            shutil.copytree(Path(each["manifest_path"]).parent, directory / each["name"])
    shutil.rmtree(fetched)
    members = json.dumps(list(CRATES))
    (directory / "Cargo.toml").write_text(f'[workspace]\nmembers = {members}\nresolver = "2"\n', encoding="utf-8")
    (directory / "offload.toml").write_text(CONFIG, encoding="utf-8")
    (directory / ".gitignore").write_text("target\ntest-results\n", encoding="utf-8")


def run(argv: Sequence[str], directory: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        RuntimeError: it ended with anything but 0; with what it printed.
    """
    done = subprocess.run(
        argv, cwd=directory, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def by_nextest(directory: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The verdict on each test by nextest alone, from its own JUnit report; ignored tests from its list."""
    config = directory / "junit.toml"
    config.write_text('[profile.default.junit]\npath = "junit.xml"\n', encoding="utf-8")
    run(["cargo", "nextest", "run", "--no-fail-fast", "--config-file", str(config)], directory, env)
    config.unlink()
    verdicts = {}
    for suite in JUnitXml.fromfile(str(directory / "target/nextest/default/junit.xml")):
        for case in suite:
            verdicts[f"{case.classname} {case.name}"] = "passed" if case.is_passed else "failed"
    listed: Any = json.loads(run(["cargo", "nextest", "list", "--message-format", "json"], directory, env).stdout)
    for binary, suite in listed["rust-suites"].items():
        ignored = (name for name, case in suite["testcases"].items() if case["ignored"])
        verdicts |= {f"{binary} {name}": "skipped" for name in ignored}
    return verdicts
