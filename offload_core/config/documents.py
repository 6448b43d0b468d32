"""TOML files as layers: their text, their values, and the line of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path as HostPath
from typing import Any

from attrs import evolve, field, frozen

from ..errors import ConfigError
from .layers import Layer, Origin, Path
from .positions import lines_of

_TOML_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")


@frozen
class Document:
    """Values that one place has, and where in it each of them stands.

    Attributes:
        values: raw, as TOML has them.
        origins: of each key; what has none is from `origin`.
        origin: of the document as a whole.
    """

    values: dict[str, Any]
    origin: Origin
    origins: Mapping[Path, Origin] = field(factory=dict)

    @classmethod
    def single(cls, path: tuple[str, ...], value: Any, origin: Origin) -> Document:
        """A document with one value: a variable or a flag."""
        for part in reversed(path):
            value = {part: value}
        return cls(value, origin)

    def at(self, path: Path) -> Origin:
        """Where the value at `path`, or the nearest table around it, stands."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.origin

    def laid_as(self, layer: Layer) -> Document:
        """The same, as what another layer says."""
        origins = {path: evolve(origin, layer=layer) for path, origin in self.origins.items()}
        return Document(self.values, evolve(self.origin, layer=layer), origins)

    def without(self, *tables: str) -> Document:
        """The same, without some of the tables at its top."""
        values = {name: value for name, value in self.values.items() if name not in tables}
        return Document(values, self.origin, self.origins)

    def inside(self, path: tuple[str, ...], *but: str) -> Document:
        """What the table at `path` holds, as a document of its own, without some of its keys."""
        table: Any = self.values
        for part in path:
            table = table[part]
        values = {name: value for name, value in table.items() if name not in but}
        origins = {
            where[len(path) :]: origin for where, origin in self.origins.items() if where[: len(path)] == path != where
        }
        return Document(values, self.at(path), origins)


def read(path: HostPath) -> str:
    """The text of a configuration file.

    Raises:
        FileNotFoundError: there is none.
        ConfigError: it cannot be read; says why.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8, as TOML has to be: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} could not be read: {error.strerror or error}") from None


def document(text: str, source: str, layer: Layer) -> Document:
    """The values of a TOML text, each with its line.

    Raises:
        ConfigError: it is not valid TOML; says where.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = _TOML_POSITION.search(message)
        # without a position it says "at end of document"
        line, column = position.groups() if position else (text.count("\n") + 1, len(text) - text.rfind("\n"))
        raise ConfigError(f"{source}:{line}:{column}: not valid TOML: {_TOML_POSITION.sub('', message)}") from None
    origins: dict[Path, Origin] = {}
    for where, line in lines_of(text).items():
        origin = Origin(layer, source, line)
        origins[tuple(int(part) if part.isdecimal() else part for part in where)] = origin
        origins[where] = origin
    return Document(values, Origin(layer, source), origins)
