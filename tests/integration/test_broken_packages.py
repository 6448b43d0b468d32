"""Packages that are broken in one way each: what is wrong is said, and nothing else is harmed."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main

PACKAGES = sorted(path.parent for path in (Path(__file__).parent / "broken_packages").glob("*/pyproject.toml"))

SAID = {
    "broken-raises": ("offload-broken-raises 1.0 does not load", "RuntimeError: the SDK needs a license file"),
    "broken-kind": ("offload-broken-kind 1.0 is no plugin", "not a subclass of offload_core.abc.Provider"),
    "broken-twin": ("claimed by offload-broken-first 1.0", "and offload-broken-second 1.0", "uninstall one of them"),
    "broken-newer": ("made for version 1000 of the contracts", "upgrade offload-core"),
    "broken-asks": ("offload-broken-asks 1.0 does not load", "it needs another version of offload-core"),
}


@pytest.fixture(autouse=True)
def _broken(distributions: Any) -> None:
    """All of them, as they are installed, or else as if they were."""
    for package in PACKAGES:
        project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        try:
            importlib.metadata.distribution(project["name"])
        except importlib.metadata.PackageNotFoundError:
            sources = {path.stem: path.read_text(encoding="utf-8") for path in package.glob("*.py")}
            distributions.add(project["name"], project["entry-points"], sources)


def project(directory: Path, provider: str) -> str:
    """A project with one test, on a provider; its configuration."""
    (directory / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    path = directory / "offload.toml"
    path.write_text(
        f'[offload]\n[provider]\ntype = "{provider}"\n[framework]\ntype = "pytest"\n[groups.all]\n', encoding="utf-8"
    )
    return str(path)


def test_the_listing_says_what_is_wrong_with_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is listed with its reason, and what is whole is listed as ever."""
    assert main(["providers", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["providers"]
    errors = {each["name"]: each["error"] for each in listed}
    for name, words in SAID.items():
        assert [word for word in words if word not in errors[name]] == [], errors[name]
    assert errors["local"] == ""


@pytest.mark.parametrize("name", sorted(SAID))
@pytest.mark.parametrize("command", [["run"], ["doctor"], ["conformance"]], ids=lambda command: command[0])
def test_using_one_says_what_is_wrong(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 and the reason, and nothing is run."""
    given = ["-c", project(tmp_path, name), *([name] if command == ["conformance"] else [])]
    assert main([*command, *given]) == 4
    captured = capsys.readouterr()
    assert [word for word in SAID[name] if word not in captured.err] == [], captured.err
    assert captured.out == ""


def test_others_are_not_harmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run, and the doctor, on another provider do not even notice."""
    configuration = project(tmp_path, "local")
    for command, said in ((["doctor"], "Everything is ready."), (["run", "--ci"], "All tests passed!")):
        assert main([*command, "-c", configuration]) == 0
        captured = capsys.readouterr()
        assert said in captured.out
        assert "broken" not in captured.out + captured.err
