"""An organization of a test's own: packages, configuration directories, a policy, and a project under them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from offload_core.config import policy
from offload_core.config.documents import Document
from offload_core.config.loading import Loaded, load
from offload_core.errors import ConfigError, PluginError
from offload_core.plugins import FRAMEWORKS, PROVIDERS, RUNNERS

PLUGINS = """
import attrs
from collections.abc import Mapping
from offload_core.abc import Framework, Provider, key

@attrs.frozen(kw_only=True)
class Small:
    env: Mapping[str, str] = key({}, "Variables.")

class Plain(Provider):
    contract = 2
    Options = Small
    needs_sandbox_root = False
    async def create(self, spec): ...
    def attach(self, ref): ...
    async def list(self, run_id=None): ...
    async def prepare(self, request): ...

@attrs.frozen(kw_only=True)
class Large(Small):
    machine: str = key("m1", "The kind of machine.", alias="kind")
    copy_dirs: tuple[str, ...] = key((), "What the image has of this host.")
    token: str = key("", "Never shown.")
    api_key: str = key("", "Never shown.")

class Cloud(Plain):
    Options = Large

class Tests(Framework):
    contract = 2
    Options = attrs.make_class("TestsOptions", {"command": attrs.field(default="test", type=str)}, frozen=True)
    def discover(self, group, launch): ...
    async def open(self, launch, collection): ...
"""

PROJECT = """
[offload]
runner = "large"
[framework]
type = "tests"
[groups.all]
"""


@define
class Organization:
    """Files in one directory: `system/`, `user/`, `policy.toml`, `project/offload.toml`, and what is installed.

    Attributes:
        file: the configuration that is loaded; another one than the project's stands for `-c`.
        environ: variables for all that is loaded.
    """

    directory: Path
    distributions: Any
    file: Path
    environ: dict[str, str] = field(factory=dict)

    def write(self, name: str, text: str) -> Path:
        """A file below the directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
        return path

    def system(self, text: str) -> Path:
        """`runners.toml` in the system's configuration directory."""
        return self.write("system/offload/runners.toml", text)

    def user(self, text: str) -> Path:
        """`runners.toml` in the user's configuration directory."""
        return self.write("user/offload/runners.toml", text)

    def package(self, distribution: str, text: str, *names: str, target: str = "PATH") -> None:
        """An installed package with runners."""
        module = distribution.replace("-", "_")
        source = f"from pathlib import Path\nPATH = Path(__file__).with_name('{module}.toml')\n"
        self.distributions.add(distribution, {RUNNERS: dict.fromkeys(names, f"{module}:{target}")}, {module: source})
        (self.distributions.directory / f"{module}.toml").write_text(text.lstrip("\n"), encoding="utf-8")

    def policy(self, text: str) -> Path:
        """The policy of the machine."""
        return self.write("policy.toml", text)

    def project(self, text: str = PROJECT) -> Path:
        """The project's file."""
        return self.write("project/offload.toml", text)

    def load(self, *overrides: Document, **environ: str) -> Loaded:
        """The configuration, with these flags and variables."""
        return load(self.file, environ={**self.environ, **environ}, overrides=overrides)

    def refused(self, *overrides: Document, **environ: str) -> str:
        """The message of the error that loading the configuration gives, without the directory in it."""
        with pytest.raises((ConfigError, PluginError)) as raised:
            self.load(*overrides, **environ)
        return str(raised.value).replace(f"{self.directory}{os.sep}", "")


def an_organization(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """With no runners and no policy yet, two providers (`plain`, `cloud`), a framework (`tests`) and a project."""
    entry_points: Mapping[str, Mapping[str, str]] = {
        PROVIDERS: {"plain": "toy_organization:Plain", "cloud": "toy_organization:Cloud"},
        FRAMEWORKS: {"tests": "toy_organization:Tests"},
    }
    distributions.add("offload-toy", entry_points, {"toy_organization": PLUGINS})
    directory = tmp_path / "organization"
    monkeypatch.setattr(policy, "POLICY_FILE", directory / "policy.toml")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(directory / "system"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(directory / "user"))
    monkeypatch.delenv("OFFLOAD_RUNNERS", raising=False)
    made = Organization(directory, distributions, directory / "project/offload.toml")
    made.project()
    return made
