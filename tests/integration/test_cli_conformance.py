"""`offload conformance NAME`: the suite from the command line, over what is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "offload-example"

EAGER = """
from offload_local import LocalProvider

class Eager(LocalProvider):
    def is_retryable(self, error):
        return True
"""
UNREADY = """
from offload_core.abc import Finding, Health, Severity
from offload_local import LocalProvider

class Unready(LocalProvider):
    async def check(self):
        return Health((Finding(Severity.ERROR, "no credentials", "log in"),))
"""


def conformance(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as it starts a pytest."""
    command = [sys.executable, "-m", "offload_core", "conformance", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def example(distributions: Any) -> None:
    """The example provider, installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = (EXAMPLE / "offload_example" / "__init__.py").read_text(encoding="utf-8")
    distributions.add(project["name"], project["entry-points"], {"offload_example": source})


def test_checks_are_run_and_counted(tmp_path: Path) -> None:
    """A line for each, and their number; exit code 0."""
    done = conformance("local", "-k", "is_retryable or lifetime", "--no-lifetime", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    skipped = "skipped lifetime: the backend cannot end a sandbox by itself"
    assert skipped in done.stdout
    assert "ok      is_retryable\n" in done.stdout
    assert "1 of 2 checks passed, 0 failed, 1 skipped.\n" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_failure_says_what_the_contract_asks(distributions: Any, tmp_path: Path) -> None:
    """And what the check is about; exit code 1."""
    distributions.add("offload-eager", {"offload.providers": {"eager": "toy_eager:Eager"}}, {"toy_eager": EAGER})
    done = conformance("eager", "-k", "is_retryable", cwd=tmp_path)
    assert done.returncode == 1
    assert "FAILED  is_retryable: AuthenticationFailed must never be retried\n" in done.stdout
    assert "The check: Each error class is classified" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.usefixtures("example")
def test_options_and_a_kill_command(tmp_path: Path) -> None:
    """Options configure the provider; a sandbox dies by the command, which gets its id."""
    place = tmp_path / "sand boxes"
    options = ("--option", f"directory={place}", "--kill-command", f"rm -r '{place}/{{sandbox_id}}'")
    done = conformance("example", *options, "-k", "test_probe or nothing_is_asked", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "3 of 3 checks passed" in done.stdout
    assert list(place.iterdir()) == []
    done = conformance("example", "--kill-command", "false {sandbox_id}", "-k", "wait_dead", cwd=tmp_path)
    assert done.returncode == 1
    assert "FAILED  wait_dead: the kill command false conformance-" in done.stdout


@pytest.mark.usefixtures("example")
def test_the_configuration_counts_if_it_is_about_the_provider(tmp_path: Path) -> None:
    """Its options are used; that of another provider is passed over, and said to be."""
    place = tmp_path / "sandboxes"
    text = f'[offload]\n[provider]\ntype = "example"\ndirectory = "{place}"\n[framework]\ntype = "pytest"\n[groups.a]\n'
    (tmp_path / "offload.toml").write_text(text, encoding="utf-8")
    done = conformance("example", "-k", "test_list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert place.is_dir()
    done = conformance("local", "-k", "test_list", cwd=tmp_path)
    assert done.returncode == 0
    assert "offload.toml configures 'example': only --option counts for 'local'" in done.stderr
    done = conformance("local", "-c", "offload.toml", cwd=tmp_path)
    assert done.returncode == 4
    assert "offload.toml configures the provider 'example', not 'local'" in done.stderr


def test_what_is_not_ready_is_not_checked(distributions: Any, tmp_path: Path) -> None:
    """Its own `check` says what to do; exit code 3."""
    targets = {"offload.providers": {"unready": "toy_unready:Unready"}}
    distributions.add("offload-unready", targets, {"toy_unready": UNREADY})
    done = conformance("unready", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "Error: no credentials: log in\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "the provider 'nope' is not installed"),
        (["local", "--option", "novalue"], "--option 'novalue' is not of the form KEY=VALUE"),
        (["local", "--option", "isolation=1"], "provider.isolation"),
        (["local", "--kill-command", "/no/such/program {sandbox_id}"], "there is no program /no/such/program"),
        (["local", "--at-once", "0"], "not in the range"),
    ],
)
def test_usage_errors_exit_with_4(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the reason on stderr, and nothing run."""
    monkeypatch.chdir(tmp_path)
    assert main(["conformance", *arguments]) == 4
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_no_such_check(tmp_path: Path) -> None:
    """An expression that matches nothing must not look like success."""
    done = conformance("local", "-k", "no_such_check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "Error: -k 'no_such_check': there is no such check\n"


def test_without_pytest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that pytest is missing, and how to get it."""
    monkeypatch.setitem(sys.modules, "pytest", None)
    assert main(["conformance", "local"]) == 4
    assert "pip install pytest" in capsys.readouterr().err
