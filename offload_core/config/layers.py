"""Layers of raw values, laid over each other weakest first, before anything is given a type.

Above the project's file stand variables named `OFFLOAD_<TABLE>__<KEY>`, and above these what a command line says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from .documents import Document, EnvironmentText
from .keys import DEFAULT, KeyPath, Layer, Origin

_PREFIX = "OFFLOAD_"
_SEPARATOR = "__"


@frozen
class Setting:
    """A value that a layer has for a key, whether a stronger layer covers it or not."""

    value: Any
    origin: Origin


@frozen
class Layers(Document):
    """What all layers so far come to.

    Attributes:
        history: for each key what was laid for it, weakest first.
    """

    values: dict[str, Any] = field(factory=dict)
    origin: Origin = DEFAULT
    origins: dict[KeyPath, Origin] = field(factory=dict)
    history: dict[KeyPath, list[Setting]] = field(factory=dict)

    def lay(self, document: Document) -> None:
        """Lay a stronger layer over what is there: tables are merged key by key, everything else is replaced."""
        self._merge(self.values, document.values, (), document)

    def _merge(self, into: dict[str, Any], values: Mapping[str, Any], path: KeyPath, document: Document) -> None:
        for name, value in values.items():
            here = (*path, name)
            if isinstance(value, dict):
                if not isinstance(into.get(name), dict):
                    self._forget(here)
                    into[name] = {}
                    self.origins[here] = document.at(here)
                self._merge(into[name], value, here, document)
                continue
            self._forget(here)
            into[name] = value
            self.origins[here] = document.at(here)
            self.history.setdefault(here, []).append(Setting(value, self.origins[here]))
            inside = {each: origin for each, origin in document.origins.items() if each[: len(here)] == here}
            self.origins.update(inside)

    def _forget(self, path: KeyPath) -> None:
        for each in [each for each in self.origins if each[: len(path)] == path]:
            del self.origins[each]


def from_flag(path: str, value: Any, flag: str) -> Document:
    """A value given on the command line.

    Args:
        path: dotted (`offload.max_parallel`); of an option that is no key, but does what a key says, its own name, such
            as `--env`. What such an option decides stands beside the gate.
        value: of `--env` the variables by their names.
        flag: what the user typed.
    """
    return Document.single(tuple(path.split(".")), value, Origin(Layer.FLAG, flag))


def variables(environ: Mapping[str, str]) -> Iterator[Document]:
    """Each variable that is a configuration value. Names of tables and of what is in `[groups]` are lower-cased."""
    for name in sorted(environ):
        key = name.removeprefix(_PREFIX)
        if key == name or _SEPARATOR not in key.strip("_"):
            continue
        parts = key.split(_SEPARATOR)
        lowered = len(parts) if parts[0].lower() == "groups" else 2
        path = (*map(str.lower, parts[:lowered]), *parts[lowered:])
        yield Document.single(path, EnvironmentText(environ[name]), Origin(Layer.ENVIRONMENT, name))


def spelled_as(values: Mapping[str, Any], existing: Any) -> dict[str, Any]:
    """Values of variables under the names that exist already, whatever their case, with `_` for what a variable's name
    cannot hold. What does not exist yet is taken as it is.
    """
    names = existing if isinstance(existing, Mapping) else {}
    spelled = {}
    for name, value in values.items():
        alike = (each for each in names if _folded(each) == _folded(name))
        known = name if name in names else next(alike, name)
        spelled[known] = spelled_as(value, names.get(known)) if isinstance(value, dict) else value
    return spelled


def _folded(name: str) -> str:
    return re.sub(r"\W", "_", name).lower()
