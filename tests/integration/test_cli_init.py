"""`offload init` writes a configuration that validates and runs."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main
from offload_core.config.loading import load
from offload_core.plugins import FRAMEWORKS, PROVIDERS

DEMANDING = """
import attrs
from offload_core.abc import Framework, Provider, key

@attrs.frozen(kw_only=True)
class Options:
    create_command: str = key(attrs.NOTHING, "How a sandbox is made.")
    size: float | None = key(None, "How large.")

class Toy(Provider):
    Options = Options
    contract = 2
    needs_sandbox_root = True
    async def create(self, spec): ...
    def attach(self, ref): ...
    async def list(self, run_id=None): ...

class Plain(Framework):
    Options = attrs.make_class("PlainOptions", {}, frozen=True)
    contract = 2
    def discover(self, group, launch): ...
    async def open(self, launch, collection): ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current directory."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


def test_what_init_writes_validates_and_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a project with tests in `tests/` and nothing else."""
    (project / "tests").mkdir()
    (project / "tests/test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    assert main(["init"]) == 0
    assert "found tests/test_it.py" in capsys.readouterr().out
    loaded = load(project / "offload.toml")
    assert loaded.warnings == ()
    assert loaded.config.framework.options.paths == ("tests",)
    assert main(["validate", "--strict"]) == 0
    assert main(["run", "--ci"]) == 0


def test_every_commented_line_is_a_key_that_exists(project: Path) -> None:
    """Comments removed, the file still has no key that nobody knows."""
    assert main(["init"]) == 0
    text = (project / "offload.toml").read_text(encoding="utf-8")
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.splitlines()]
    lines = [line for line in lines if not line.endswith('"…"')]
    (project / "all.toml").write_text("\n".join(lines), encoding="utf-8")
    assert load(project / "all.toml").warnings == ()


@pytest.mark.parametrize(
    ("files", "command", "paths"),
    [
        ({"pytest.ini": "[pytest]\ntestpaths = here\n", "tests/x": ""}, None, ()),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "test/x": ""}, None, ("test",)),
        ({"setup.cfg": "[tool:pytest]\n", "tests/x": ""}, None, ("tests",)),
        ({"conftest.py": ""}, None, ()),
        ({".venv/bin/python": "", "test_x.py": ""}, ".venv/bin/python -m pytest", ()),
    ],
)
def test_pytest_is_recognized_with_its_settings(
    project: Path, files: dict[str, str], command: str | None, paths: tuple[str, ...]
) -> None:
    """What pytest's own settings say is not said again; a virtual environment of the project's own is used."""
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    assert main(["init"]) == 0
    options = load(project / "offload.toml").config.framework.options
    assert options.paths == paths
    assert options.command == command or (command is None and options.command.endswith("-m pytest"))


def test_a_project_of_another_kind_is_not_called_a_pytest_project(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, and that its framework is not installed."""
    monkeypatch.setattr("offload_core.cli.starter.names", lambda group: ("pytest",))
    (project / "go.mod").touch()
    code = main(["init"])
    err = capsys.readouterr().err
    assert code == 4
    assert "found go.mod (go)" in err
    assert "-f" in err
    assert not (project / "offload.toml").exists()


def test_an_existing_file_is_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless --force says otherwise; `-c` names another."""
    (project / "offload.toml").write_text("mine", encoding="utf-8")
    assert main(["init"]) == 4
    assert "offload.toml exists already" in capsys.readouterr().err
    assert (project / "offload.toml").read_text(encoding="utf-8") == "mine"
    assert main(["init", "-c", "other.toml"]) == 0
    assert main(["init", "--force"]) == 0
    assert (
        tomllib.loads((project / "offload.toml").read_text(encoding="utf-8"))["framework"]
        == tomllib.loads((project / "other.toml").read_text(encoding="utf-8"))["framework"]
    )


@pytest.mark.parametrize("arguments", [["-p", "nope"], ["-f", "nope"]])
def test_an_unknown_plugin_is_an_error(project: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With what is installed."""
    assert main(["init", *arguments]) == 4
    assert "'nope' is not installed" in capsys.readouterr().err
    assert not (project / "offload.toml").exists()


def test_what_cannot_be_guessed_is_asked_for(
    project: Path, distributions: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key without a default is left to fill in and named; a sandbox root is there where the provider needs one."""
    entry_points = {PROVIDERS: {"aaa": "toy_init:Toy"}, FRAMEWORKS: {"plain": "toy_init:Plain"}}
    distributions.add("offload-aaa", entry_points, {"toy_init": DEMANDING})
    assert main(["init", "-p", "aaa", "-f", "plain"]) == 0
    assert "Fill in provider.create_command" in capsys.readouterr().out
    document = tomllib.loads((project / "offload.toml").read_text(encoding="utf-8"))
    assert document["provider"] == {"type": "aaa", "create_command": ""}
    assert document["offload"]["sandbox_project_root"] == "/app"
    assert main(["init", "--force", "-f", "plain"]) == 0
    chosen = load(project / "offload.toml").config.provider.type
    assert chosen != "aaa", "a provider that has to be told something is not chosen by itself"
    assert sys.modules["toy_init"]
