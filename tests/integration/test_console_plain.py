"""The console of a real process whose streams are pipes: lines, whatever the environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

RUN = """
import sys
from pathlib import Path

from offload_core.abc import Outcome
from offload_core.config.schema import ReportTable
from offload_core.results.console import ConsoleOptions
from offload_core.results.directory import OutputDirectory
from offload_core.results.reporter import Reporter
from tests.support.synthetic import began, ended, found, run_of, stamped

output, color, count = sys.argv[1:]
bad = "bad[\\u00e9\\u6f22\\U0001f389]"
names = [f"t{number}" for number in range(int(count))]
events = run_of(
    *map(found, names),
    found(bad),
    *[ended(name) for name in names],
    began(bad),
    ended(bad, Outcome.FAILED, text="assert 1 == 2"),
    exit_code=1,
)
with (
    OutputDirectory(Path(output)) as directory,
    Reporter(directory, ReportTable(), console=ConsoleOptions(color=color)) as reporter,
):
    for each in stamped(events):
        reporter.consumer(each)
    code = reporter.finish(1)
assert "rich" not in sys.modules
sys.exit(code)
"""


def run(output: Path, *, color: str = "auto", count: int = 5, **env: str) -> subprocess.CompletedProcess[str]:
    """Report a run of which one test fails, into pipes."""
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI", "TERM")}
    return subprocess.run(
        [sys.executable, "-c", RUN, str(output), color, str(count)],
        cwd=ROOT,
        env={**clean, "PYTHONUTF8": "1", **env},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_results_and_progress_are_apart(tmp_path: Path) -> None:
    """Results are on stdout, progress is on stderr, neither has an escape sequence, and rich is not even imported."""
    ran = run(tmp_path)
    assert ran.returncode == 1, ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "FAILED tests/test_a.py::bad[é漢🎉]" in ran.stdout
    assert "[ci]" not in ran.stdout
    assert ran.stdout.splitlines()[-1] == "Some tests failed."
    assert "[discover] finished: unit [6 tests" in ran.stderr
    assert ran.stderr.splitlines()[-1] == "[ci] 100% | passed: 5, failed: 1, flaky: 0, awaiting: 0"


def test_force_color_colors_and_moves_nothing(tmp_path: Path) -> None:
    """FORCE_COLOR and `--color always` give colors in a pipe: no cursor movement, no erasing. NO_COLOR gives none."""
    for ran in (run(tmp_path, FORCE_COLOR="1", TERM="xterm-256color"), run(tmp_path, color="always", NO_COLOR="1")):
        assert "\x1b[1;31mFAILED" in ran.stdout
        sequences = {part.partition("m")[0] for part in (ran.stdout + ran.stderr).split("\x1b[")[1:]}
        assert sequences <= {"0", "1", "2", "1;31", "31", "32", "33"}
    assert "\x1b" not in run(tmp_path, FORCE_COLOR="1", NO_COLOR="1").stdout
    assert "\x1b" not in run(tmp_path, color="never", FORCE_COLOR="1").stdout


def test_a_poor_encoding_loses_nothing(tmp_path: Path) -> None:
    """Where the streams take ASCII only, other characters are spelled out."""
    ran = run(tmp_path, PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ran.returncode == 1, ran.stderr
    assert "FAILED tests/test_a.py::bad[\\xe9\\u6f22\\U0001f389]" in ran.stdout


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """`offload run | head -1`: the run goes on to its end, and its reports are written."""
    env = {**os.environ, "FORCE_COLOR": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), "auto", "20000"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 1, errors
    process.stderr.close()
    assert "Traceback" not in errors
    assert (tmp_path / "summary.json").exists()
