"""The suite that the benchmarks run, in an environment of its own, and one measured run of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from offload_core.events import RunStarted, TestBegan
from offload_core.results.journal import read_journal

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("networkx", "numpy", "scipy", "pytest", "pytest-xdist")
CONFIG = """\
[offload]
max_parallel = {workers}

[provider]
type = "local"

[framework]
type = "pytest"
paths = {paths}
# networkx's conftest changes the collected items, but only by adding marks: it may see one file at a time.
stream = true

[groups.all]
"""


@frozen(kw_only=True)
class Measured:
    """One run. Times in seconds.

    Attributes:
        wall: from before its process was started until after it had ended.
        own_cpu: of the process that the user starts. children_cpu: of all that it waited for.
        first_start: from before the process was started until it knew that a test had.
        outcomes: sorted, by test id; for pytest only.
        output: what it printed.
    """

    wall: float
    own_cpu: float
    children_cpu: float
    first_start: float
    outcomes: dict[str, list[str]]
    output: str


@frozen
class Workspace:
    """A directory with a virtual environment, a copy of networkx whose tests are run, and an `offload.toml`."""

    root: Path

    @property
    def suite(self) -> Path:
        """Where the tests are run."""
        return self.root / "suite"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "venv" / "bin" / "python"

    @property
    def journal(self) -> Path:
        """What Offload's last run wrote."""
        return self.suite / "test-results" / "events.jsonl"

    def prepare(self, paths: Sequence[str], workers: int) -> None:
        """Install what is missing, copy the package, write the configuration.

        Raises:
            subprocess.CalledProcessError: pip failed.
        """
        constraints = CHECKOUT / "tests" / "constraints.txt"
        offload = ["-e", str(CHECKOUT), "-e", str(CHECKOUT / "providers" / "local")]
        if not self.python.exists():
            venv.create(self.root / "venv", with_pip=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(constraints), *PACKAGES, *offload], check=True, env=_environment())
        if not self.suite.exists():
            self.suite.mkdir(parents=True)
            where = "import networkx, pathlib; print(pathlib.Path(networkx.__file__).parent)"
            found = subprocess.run([self.python, "-c", where], check=True, capture_output=True, text=True)
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(found.stdout.strip(), self.suite / "networkx", ignore=ignore)
        config = CONFIG.format(workers=workers, paths=json.dumps(list(paths)))
        (self.suite / "offload.toml").write_text(config, encoding="utf-8")

    def forget(self) -> None:
        """Remove what earlier runs of Offload left: the next one knows nothing of the suite."""
        shutil.rmtree(self.suite / "test-results", ignore_errors=True)

    def run(self, program: str, *arguments: str) -> Measured:
        """Run `pytest` or `offload` once.

        Raises:
            RuntimeError: it ended with anything but 0; with what it printed.
        """
        figures = self.root / "figures.json"
        argv = [str(self.python), str(Path(__file__).with_name("measured.py")), str(figures), program, *arguments]
        epoch, began = time.time(), time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.suite,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall = time.monotonic() - began
        if done.returncode != 0:
            raise RuntimeError(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        found: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
        first_start = found.get("first_start") or self._first_start()
        return Measured(
            wall=wall,
            own_cpu=found["own_cpu"],
            children_cpu=found["children_cpu"],
            first_start=first_start - epoch,
            outcomes={test: sorted(outcomes) for test, outcomes in found.get("outcomes", {}).items()},
            output=done.stdout,
        )

    def _first_start(self) -> float:
        epoch = 0.0
        for stamped in read_journal(self.journal):
            if isinstance(stamped.event, RunStarted):
                epoch = stamped.event.epoch
            if isinstance(stamped.event, TestBegan):
                return epoch + stamped.at
        raise RuntimeError(f"no test began in {self.journal}")


def _environment() -> dict[str, str]:
    """As a user's: nothing of an Offload, pytest or tox that this runs in, and compiled files are kept."""
    dropped = ("OFFLOAD_", "PYTEST_", "TOX_", "COV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT", "CI"):
        env.pop(name, None)
    return env


def machine() -> str:
    """What this runs on, in words."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, {time.strftime('%Y-%m-%d %H:%M')}, load {load}"
