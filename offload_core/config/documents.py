"""Raw values that one place gives, as TOML has them: a file, a variable, a flag. With the line of each key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from ..errors import ConfigError
from .keys import KeyPath, Layer, Origin, located
from .positions import lines_of

MISSING: Final = object()
"""Stands for a value that is not there."""

_TOML_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")


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


@frozen
class Document:
    """Values that one place has, and where in it each of them stands.

    Attributes:
        values: raw, as TOML has them.
        origin: of the document as a whole.
        origins: of each key; what has none is from `origin`.
    """

    values: Mapping[str, Any]
    origin: Origin
    origins: Mapping[KeyPath, Origin] = field(factory=dict)

    @classmethod
    def single(cls, path: KeyPath, value: Any, origin: Origin) -> Document:
        """A document with one value: a variable or a flag."""
        for part in reversed(path):
            value = {part: value}
        return cls(value, origin)

    def get(self, path: KeyPath) -> Any:
        """The value at `path`, or `MISSING`."""
        return value_at(self.values, path)

    def at(self, path: KeyPath) -> Origin:
        """Where the value at `path`, or the nearest table around it, stands."""
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.origins[each] for each in around if each in self.origins), self.origin)

    def error(self, path: KeyPath, words: str) -> ConfigError:
        """What is wrong with the value at `path`."""
        return ConfigError(located(self.at(path), path, words))

    def laid_as(self, layer: Layer) -> Document:
        """The same, as what another layer says."""
        origins = {path: evolve(origin, layer=layer) for path, origin in self.origins.items()}
        return Document(self.values, evolve(self.origin, layer=layer), origins)

    def without(self, *tables: str) -> Document:
        """The same, without some of the tables at its top."""
        return evolve(self, values={name: value for name, value in self.values.items() if name not in tables})

    def inside(self, path: KeyPath, *but: str) -> Document:
        """What the table at `path` holds, as a document of its own, without some of its keys."""
        origins = {
            where[len(path) :]: origin for where, origin in self.origins.items() if where[: len(path)] == path != where
        }
        return Document(self.get(path), self.at(path), origins).without(*but)


def value_at(values: Any, path: KeyPath) -> Any:
    """The value at `path` in nested tables, or `MISSING`."""
    for part in path:
        values = values.get(part, MISSING) if isinstance(values, Mapping) else MISSING
    return values


def plain(value: Any) -> Any:
    """A value whose type nobody asks for: text from the environment becomes what it spells."""
    return value.parsed() if isinstance(value, EnvironmentText) else value


def read(path: Path) -> str:
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
    origins = {where: Origin(layer, source, line) for where, line in lines_of(text).items()}
    return Document(values, Origin(layer, source), origins)
