"""The command line as a whole: its common options, its exit codes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from offload_core import __version__
from offload_core.cli import main
from offload_core.cli.root import root
from offload_core.errors import ConfigError, FrameworkError

HEAVY = ("asyncio", "cattrs", "filelock", "importlib.metadata", "jinja2", "pytest", "rich", "stevedore", "tenacity")
TOO_EARLY = ("offload_core.abc", "offload_core.config", "offload_core.execution", "offload_core.plugins")


def offload(*arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "offload_core", *arguments], capture_output=True, text=True, check=False, **kwargs
    )


def test_help_imports_nothing_that_commands_need() -> None:
    """No provider, pytest, rich or any other heavy module: the help of the whole has to be there at once."""
    script = (
        "import contextlib, io, json, sys\n"
        "before = set(sys.modules)\n"
        "from offload_core.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    code = main(['--help'])\n"
        "print(json.dumps([code, out.getvalue(), sorted(set(sys.modules) - before)]))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    code, text, modules = json.loads(done.stdout)
    assert code == 0
    assert "Usage: offload" in text
    for command in root.list_commands(click.Context(root)):
        assert f"\n  {command} " in text
    assert not [name for name in modules if name.startswith(HEAVY + TOO_EARLY)]
    ours = {name for name in modules if name.startswith("offload_")}
    assert all(name == "offload_core" or name.startswith(("offload_core.cli", "offload_core.errors")) for name in ours)


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--version"], ["-c", "x", "validate", "--version"]])
def test_the_version_is_told_anywhere_on_the_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before and after the command's name."""
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"offload {__version__}\n"


@pytest.mark.parametrize("arguments", [["-c", "there.toml", "validate"], ["validate", "-c", "there.toml"]])
def test_the_configuration_is_named_anywhere_on_the_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before and after the command's name; the last one counts."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 4
    assert "no configuration file there.toml" in capsys.readouterr().err
    assert main(["-c", "first.toml", "validate", "-c", "second.toml"]) == 4
    assert "no configuration file second.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "No such command 'nope'"),
        (["run", "--nope"], "No such option"),
        (["run", "-p", "many"], "not a valid integer"),
        (["run", "-p", "0"], "not in the range"),
        (["--color", "blue", "validate"], "'blue' is not one of"),
        (["reap"], "--run ID, --expired or --all"),
        (["reap", "--all", "--json"], "--json needs --yes"),
    ],
)
def test_usage_errors_exit_with_4(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Never with 2, which means that tests were flaky."""
    assert main(arguments) == 4
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_no_configuration_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    """Exit code 4, the reason and what to do on stderr, nothing on stdout."""
    done = offload("run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("Error: there is no configuration file offload.toml: `offload init` writes one")


def test_causes_are_told_in_turn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ours by their message, others with the name of their class."""

    def broken(*args: Any, **kwargs: Any) -> None:
        full = FrameworkError("the disk is full")
        full.__cause__ = OSError(28, "No space left on device")
        raise ConfigError("cannot be used") from full

    monkeypatch.setattr("offload_core.cli.configured.load", broken)
    assert main(["collect"]) == 4
    assert capsys.readouterr().err == (
        "Error: cannot be used\nCaused by: the disk is full\nCaused by: OSError: [Errno 28] No space left on device\n"
    )


def test_a_defect_shows_its_traceback_and_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not one of our errors is a defect of ours: exit code 3, never 0, 1 or 2."""

    def broken(*args: Any, **kwargs: Any) -> None:
        raise KeyError("oh")

    monkeypatch.setattr("offload_core.cli.configured.load", broken)
    assert main(["collect"]) == 3
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "KeyError: 'oh'" in error
    assert "defect in Offload. Please report it" in error


def test_a_reader_that_went_away_is_no_error() -> None:
    """`offload … | head` must not end in a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "offload_core", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("words", "current", "expected"),
    [("offload ", "1", "run"), ("offload r", "1", "reap"), ("offload run --last", "2", "--last-failed")],
)
def test_the_shell_completes(words: str, current: str, expected: str, tmp_path: Path) -> None:
    """click's completion knows commands and their options."""
    env = {**os.environ, "_OFFLOAD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": current}
    script = Path(sys.executable).parent / "offload"
    done = subprocess.run([str(script)], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert expected in [line.partition(",")[2] for line in done.stdout.splitlines()]
