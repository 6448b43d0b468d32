"""The console on a real terminal: a display that moves below lines that stay."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Holds still in the middle until it is told to go on, so that the display can be seen however slow the machine is.
RUN = """
import sys
from pathlib import Path

from offload_core.abc import Outcome
from offload_core.config.schema import ReportTable
from offload_core.results.console import ConsoleOptions
from offload_core.results.directory import OutputDirectory
from offload_core.results.reporter import Reporter
from offload_core.events import Warned
from tests.support.synthetic import began, ended, found, run_of, stamped

output, *options = sys.argv[1:]
events = run_of(
    *[found(name) for name in ("good", "bad", "slow" + "w" * 300)],
    ended("good"),
    ended("bad", Outcome.FAILED, text="assert 1 == 2"),
    Warned("look out"),
    began("slow" + "w" * 300),
    exit_code=None,
)
with (
    OutputDirectory(Path(output)) as directory,
    Reporter(directory, ReportTable(), console=ConsoleOptions(ci="ci" in options)) as reporter,
):
    for each in stamped(events):
        reporter.consumer(each)
    sys.stdin.readline()
    if "die" in options:
        raise SystemExit(7)
    reporter.finish(1)
"""

MOVES = re.compile(rb"\x1b\[\d*[ABEFJK]|\x1b\[2K|\x1b\[\?25[lh]")


class Terminal:
    """A process whose stderr, and stdout unless `piped`, are a terminal of this size. What it shows is collected."""

    def __init__(
        self, output: Path, *options: str, columns: int = 80, piped: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self._main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        unset = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES")
        environ = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(output), *options],
            cwd=ROOT,
            env={**environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if piped else terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.shown = b""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, text: bytes) -> None:
        """Until this was shown."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.shown, timeout=60), self.shown

    def go_on(self) -> bytes:
        """Let the run end; returns what a piped stdout got."""
        out, _ = self.process.communicate(b"\n", timeout=60)
        self._reader.join(timeout=60)
        os.close(self._main)
        return out or b""

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._main, 65536)
            except OSError:  # how Linux reports that the other end is closed
                data = b""
            if not data:
                return
            with self._changed:
                self.shown += data
                self._changed.notify_all()


def lines(shown: bytes) -> list[str]:
    """The lines of a screen without their escape sequences."""
    return (
        re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode().replace("\r\n", "\n").replace("\r", "\n").splitlines()
    )


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_display(tmp_path: Path, columns: int) -> None:
    """Counts, sandboxes and the running test are shown, no line wider than the terminal; the end is whole."""
    terminal = Terminal(tmp_path, columns=columns)
    terminal.wait_for(b"wwww")
    display = [line for line in lines(terminal.shown) if "passed" in line or "alive" in line or "www" in line]
    whole = terminal.go_on()
    assert whole == b""
    assert any("1 passed  1 failed" in line for line in display)
    assert any("1 alive" in line for line in display)
    assert any("…" in line and line.rstrip().endswith(("w", "box-1")) for line in display)
    assert all(len(line) < columns for line in display)
    text = "".join(lines(terminal.shown))
    assert "FAILED tests/test_a.py::bad" in text.replace("\n", "")
    assert text.count("FAILED tests") == 1
    assert text.count("warning: look out") == 1
    assert lines(terminal.shown)[-1] == "Some tests failed."
    assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l")
    assert not MOVES.search(terminal.shown[terminal.shown.rindex(b"Test Results:") :])


def test_results_in_a_pipe(tmp_path: Path) -> None:
    """With stdout in a pipe, the display is on the terminal and the pipe gets the results, without escapes."""
    terminal = Terminal(tmp_path, piped=True)
    terminal.wait_for(b"wwww")
    out = terminal.go_on().decode()
    assert "\x1b" not in out
    assert "FAILED tests/test_a.py::bad" in out
    assert out.splitlines()[-1] == "Some tests failed."
    assert "warning" not in out
    assert b"Test Results:" not in terminal.shown


@pytest.mark.parametrize(("options", "env"), [(["ci"], {}), ([], {"CI": "true"}), ([], {"TERM": "dumb"})])
def test_no_display(tmp_path: Path, options: list[str], env: dict[str, str]) -> None:
    """`--ci`, CI=true and a dumb terminal get plain lines even on a terminal."""
    terminal = Terminal(tmp_path, *options, env={**env, "FORCE_COLOR": "1"})
    terminal.wait_for(b"look out")
    terminal.go_on()
    assert not MOVES.search(terminal.shown)
    assert b"[ci] 66% | passed: 1, failed: 1" in terminal.shown


def test_no_color(tmp_path: Path) -> None:
    """NO_COLOR keeps the display and takes its colors."""
    terminal = Terminal(tmp_path, env={"NO_COLOR": "1"})
    terminal.wait_for(b"wwww")
    terminal.go_on()
    assert MOVES.search(terminal.shown)
    codes = {code for each in re.findall(rb"\x1b\[([0-9;]*)m", terminal.shown) for code in each.split(b";")}
    assert not codes & {str(code).encode() for code in (*range(30, 38), 38, 48, *range(90, 98))}


def test_an_exception_restores_the_terminal(tmp_path: Path) -> None:
    """Whatever ends the run, the cursor is there again."""
    terminal = Terminal(tmp_path, "die")
    terminal.wait_for(b"wwww")
    terminal.go_on()
    assert terminal.process.returncode == 7
    assert terminal.shown.rindex(b"\x1b[?25h") > terminal.shown.rindex(b"\x1b[?25l")
