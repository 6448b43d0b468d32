"""The configuration that `offload init` writes, from what it finds in a directory and what plugins document."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from ..config.annotations import default_of
from ..config.schema import GroupTable, OffloadTable, ReportTable
from ..errors import ConfigError, PluginError
from ..kit import inherited_environment
from ..plugins import FRAMEWORKS, PROVIDERS, load_framework_class, load_provider_class, names
from .toml_text import toml

_SANDBOX_ROOT = "/app"
_WIDTH = 100
_INI_SECTIONS = {"pytest.ini": "pytest", ".pytest.ini": "pytest", "tox.ini": "pytest", "setup.cfg": "tool:pytest"}
_MARKERS = {
    "nextest": ("Cargo.toml",),
    "vitest": ("vitest.config.ts", "vitest.config.mts", "vitest.config.js", "vitest.config.mjs"),
    "go": ("go.mod", "go.work"),
}


@frozen(kw_only=True)
class Starter:
    """A new configuration.

    Attributes:
        text: the file.
        why: what was found, in words.
        required: dotted keys that have no default and could not be guessed.
    """

    text: str
    why: str
    required: tuple[str, ...]


def starter(directory: Path, provider: str | None = None, framework: str | None = None) -> Starter:
    """Make a configuration for the project in `directory`.

    Raises:
        PluginError: a plugin is not installed or does not load.
        ConfigError: it is not clear which one to use.
    """
    if framework is None:
        framework, found = _detected(directory)
        why = f"tests for {framework} ({found})"
    else:
        why = f"tests for {framework}, as asked"
    framework_class = load_framework_class(framework)
    provider = provider or _simplest_provider()
    provider_class = load_provider_class(provider)
    run: dict[str, Any] = {"max_parallel": max(2, os.cpu_count() or 2)}
    if provider_class.needs_sandbox_root:
        run["sandbox_project_root"] = _SANDBOX_ROOT
    guessed = _pytest_options(directory) if framework == "pytest" else framework_class.guess_options(directory)
    tables = [
        _table("offload", OffloadTable, run, shown=("test_timeout_secs",)),
        _table("provider", provider_class.Options, {"type": provider}),
        _table("framework", framework_class.Options, {"type": framework, **guessed}),
        _table("groups.all", GroupTable, {"retry_count": 0}),
        _table("report", ReportTable, {"output_dir": "test-results"}, shown=()),
    ]
    head = "# How Offload runs the tests of this project. Lines that are commented out show the defaults.\n"
    required = [
        f"{table}.{name}"
        for table, cls, given in (
            ("provider", provider_class.Options, {}),
            ("framework", framework_class.Options, guessed),
        )
        for name in _required(cls, given)
    ]
    return Starter(text="\n".join([head, *tables]), why=f"{why}, on {provider}", required=tuple(required))


def _detected(directory: Path) -> tuple[str, str]:
    installed = names(FRAMEWORKS)
    found = {"pytest": _pytest_sign(directory)}
    for framework, files in _MARKERS.items():
        found[framework] = next((file for file in files if (directory / file).exists()), "")
    found["vitest"] = found["vitest"] or _vitest_sign(directory)
    signs = {framework: sign for framework, sign in found.items() if sign}
    for framework, sign in signs.items():
        if framework in installed:
            return framework, f"found {sign}"
    if signs:
        seen = ", ".join(f"{sign} ({framework})" for framework, sign in signs.items())
        raise ConfigError(
            f"found {seen}, but these frameworks are not installed; name one of {', '.join(installed)} with -f"
        )
    if "pytest" in installed:
        return "pytest", "found nothing that says otherwise"
    raise ConfigError(f"found no tests that an installed framework runs; name one of {', '.join(installed)} with -f")


def _pytest_sign(directory: Path) -> str:
    for file in _INI_SECTIONS:
        if (directory / file).is_file() and _pytest_ini(directory) is not None:
            return file
    if _pytest_ini(directory) is not None:
        return "pyproject.toml"
    for pattern in ("conftest.py", "tests/conftest.py", "test_*.py", "tests/**/test_*.py", "test/**/test_*.py"):
        match = next(directory.glob(pattern), None)
        if match is not None:
            return str(match.relative_to(directory))
    return ""


def _vitest_sign(directory: Path) -> str:
    """Vitest needs no file of its own: a package that depends on it has its tests, as a rule."""
    try:
        package = json.loads((directory / "package.json").read_text(encoding="utf-8"))
        needs = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
    except (OSError, ValueError, TypeError, AttributeError):
        return ""
    return "package.json" if "vitest" in needs else ""


def _pytest_ini(directory: Path) -> Mapping[str, Any] | None:
    """pytest's own settings, or None where there are none."""
    for file, section in _INI_SECTIONS.items():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(directory / file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if parser.has_section(section):
            return dict(parser[section])
    try:
        document = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    settings = document.get("tool", {}).get("pytest")
    return settings.get("ini_options", settings) if isinstance(settings, dict) else None


def _pytest_options(directory: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"command": _pytest_command(directory)}
    if "testpaths" not in (_pytest_ini(directory) or {}):
        tests = next((name for name in ("tests", "test") if (directory / name).is_dir()), None)
        if tests:
            options["paths"] = [tests]
    return options


def _pytest_command(directory: Path) -> str:
    """The project's own environment, where it has one: its tests need more than pytest."""
    if (directory / ".venv/bin/python").exists():
        return ".venv/bin/python -m pytest"
    for lock, tool in (("uv.lock", "uv"), ("poetry.lock", "poetry")):
        if (directory / lock).exists() and shutil.which(tool):
            return f"{tool} run python -m pytest"
    python = "python" if shutil.which("python", path=inherited_environment().get("PATH")) else "python3"
    return f"{python} -m pytest"


def _simplest_provider() -> str:
    """The installed provider that works without being told anything."""
    installed = names(PROVIDERS)
    if len(installed) == 1:
        return installed[0]
    for name in installed:
        try:
            provider_class = load_provider_class(name)
        except PluginError:
            continue
        if not provider_class.needs_sandbox_root and not _required(provider_class.Options, {}):
            return name
    if not installed:
        raise ConfigError("no provider is installed: each is a package of its own, named offload-NAME")
    raise ConfigError(f"name a provider with -p; installed are {', '.join(installed)}")


def _required(cls: type, given: Mapping[str, Any]) -> list[str]:
    return [each.name for each in attrs.fields(cls) if each.default is attrs.NOTHING and each.name not in given]


def _table(name: str, cls: type, values: Mapping[str, Any], shown: tuple[str, ...] | None = None) -> str:
    """A TOML table: `values` set, what is required left to fill in, the rest (or `shown`) as comments with defaults."""
    fields = {each.name: each for each in attrs.fields(cls)}
    lines = [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in values.items() if key not in fields)]
    for key, each in fields.items():
        doc = each.metadata.get("doc", "")
        if key in values:
            lines += [*_comment(doc), f"{key} = {toml(values[key])}"]
        elif each.default is attrs.NOTHING:
            lines += [*_comment(doc), f"{key} = {toml(each.metadata.get('example', ''))}"]
        elif (shown is None or key in shown) and not each.metadata.get("inert"):
            lines += [*_comment(doc), f"# {key} = {toml(default_of(each))}"]
    return "\n".join(lines) + "\n"


def _comment(doc: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(doc, _WIDTH)]
