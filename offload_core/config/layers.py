"""Layers of raw values, weakest first, and where each value comes from.

Defaults are in the tables' classes; an organization's runner, the machine's policy, the project's file, variables named
`OFFLOAD_<TABLE>__<KEY>` and command-line flags are laid over each other here, before anything is given a type.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import define, field, frozen

Path = tuple[str | int, ...]
"""From the top of the configuration: keys, and positions in lists."""

_PREFIX = "OFFLOAD_"
_SEPARATOR = "__"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Layer(StrEnum):
    """Where a value can come from, weakest first."""

    DEFAULT = "default"
    RUNNER = "runner"
    POLICY = "policy"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "command line"


@frozen
class Origin:
    """Where a value was set. `source` is a file, a variable or a flag; `line` counts from 1."""

    layer: Layer
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.layer is Layer.DEFAULT:
            return "default"
        return f"{self.source}:{self.line}" if self.line else self.source


DEFAULT = Origin(Layer.DEFAULT)


@frozen
class Setting:
    """A value that a layer has for a key, whether a stronger layer covers it or not."""

    value: Any
    origin: Origin


@frozen
class Override:
    """A value given on the command line. `path` is dotted (`offload.max_parallel`), `flag` is what the user typed."""

    path: str
    value: Any
    flag: str


class EnvironmentText(str):
    """The text of an environment variable: its type is that of the key it is for, not known before structuring."""

    __slots__ = ()

    def parsed(self) -> Any:
        """The TOML value that it spells, or itself as a plain string."""
        try:
            document = tomllib.loads(f"value = {self}")
        except tomllib.TOMLDecodeError:
            return str(self)
        return document["value"] if len(document) == 1 else str(self)


@define
class Layers:
    """The values of all layers so far, the origin of each, and for each key what was laid for it, weakest first."""

    values: dict[str, Any] = field(factory=dict)
    origins: dict[Path, Origin] = field(factory=dict)
    history: dict[Path, list[Setting]] = field(factory=dict)

    def lay(self, values: Mapping[str, Any], origin_of: Mapping[Path, Origin], fallback: Origin) -> None:
        """Lay a stronger layer over what is there: tables are merged key by key, everything else is replaced."""
        self._merge(self.values, values, (), origin_of, fallback)

    def origin(self, path: Path) -> Origin:
        """Where the value at `path`, or the nearest table around it, was set."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return DEFAULT

    def _merge(
        self,
        into: dict[str, Any],
        values: Mapping[str, Any],
        path: Path,
        origin_of: Mapping[Path, Origin],
        fallback: Origin,
    ) -> None:
        for name, value in values.items():
            here = (*path, name)
            if isinstance(value, dict):
                if not isinstance(into.get(name), dict):
                    self._forget(here)
                    into[name] = {}
                    self.origins[here] = origin_of.get(here, fallback)
                self._merge(into[name], value, here, origin_of, fallback)
                continue
            self._forget(here)
            into[name] = value
            self.origins[here] = origin_of.get(here, fallback)
            self.history.setdefault(here, []).append(Setting(value, self.origins[here]))
            self.origins.update((each, origin) for each, origin in origin_of.items() if each[: len(here)] == here)

    def _forget(self, path: Path) -> None:
        for each in [each for each in self.origins if each[: len(path)] == path]:
            del self.origins[each]


def is_override(variable: str) -> bool:
    """Whether an environment variable is a configuration value, `OFFLOAD_<TABLE>__<KEY>`. Never passed to sandboxes."""
    return variable.startswith(_PREFIX) and _SEPARATOR in variable.removeprefix(_PREFIX).strip("_")


def environment_values(
    environ: Mapping[str, str], existing: Mapping[str, Any]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """The path and text of each variable that is a configuration value, by its name.

    Table and key are lower-cased. Deeper parts, and names of groups, are those that exist already whatever their case,
    with `_` for what a variable's name cannot hold; a part that does not exist yet is taken as it is written.
    """
    found = {}
    for variable in sorted(filter(is_override, environ)):
        parts = variable.removeprefix(_PREFIX).split(_SEPARATOR)
        found[variable] = (_spelled(parts, existing), EnvironmentText(environ[variable]))
    return found


def _spelled(parts: list[str], existing: Mapping[str, Any]) -> tuple[str, ...]:
    path: list[str] = []
    table: Any = existing
    for depth, part in enumerate(parts):
        names = table if isinstance(table, Mapping) else {}
        free = depth >= 2 and path[0] != "groups"
        spelled = next((name for name in names if _folded(name) == _folded(part)), part if free else part.lower())
        path.append(spelled)
        table = names.get(spelled)
    return tuple(path)


def _folded(name: str) -> str:
    return re.sub(r"\W", "_", name).lower()


def dotted(path: Path) -> str:
    """The path as TOML would write it: `groups."slow tests".filters`, `report.download_globs[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        quoted = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f".{quoted}" if text else quoted
    return text
