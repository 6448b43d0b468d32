"""What is said above the project's file: variables named `OFFLOAD_<TABLE>__<KEY>`, flags and options of a command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from .documents import Document, EnvironmentText
from .keys import Layer, Origin

_PREFIX = "OFFLOAD_"
_SEPARATOR = "__"


@frozen
class Override:
    """A value given on the command line. `path` is dotted (`offload.max_parallel`), `flag` is what the user typed."""

    path: str
    value: Any
    flag: str

    def document(self) -> Document:
        """The value as a layer."""
        return Document.single(tuple(self.path.split(".")), self.value, Origin(Layer.FLAG, self.flag))


@frozen
class Option:
    """An option of a command that is no key, but does what a key says; what it decides stands beside the gate.

    Attributes:
        name: as the user typed it, such as `--env`.
        value: of `--env` the variables, of others what the user gave.
    """

    name: str
    value: Any

    def document(self) -> Document:
        """The value under the option's name, as if that were a key."""
        return Document({self.name: self.value}, Origin(Layer.FLAG, self.name))


def variables(environ: Mapping[str, str]) -> Iterator[Document]:
    """Each variable that is a configuration value. Names of tables and of what is in `[groups]` are lower-cased."""
    for name in sorted(environ):
        key = name.removeprefix(_PREFIX)
        if key == name or _SEPARATOR not in key.strip("_"):
            continue
        parts = key.split(_SEPARATOR)
        path = tuple(part if _keeps_case(parts, depth) else part.lower() for depth, part in enumerate(parts))
        yield Document.single(path, EnvironmentText(environ[name]), Origin(Layer.ENVIRONMENT, name))


def _keeps_case(parts: list[str], depth: int) -> bool:
    return depth >= 2 and parts[0].lower() != "groups"


def spelled_as(values: Mapping[str, Any], existing: Any) -> dict[str, Any]:
    """Values of variables under the names that exist already, whatever their case, with `_` for what a variable's name
    cannot hold. What does not exist yet is taken as it is.
    """
    names = existing if isinstance(existing, Mapping) else {}
    spelled = {}
    for name, value in values.items():
        known = next((each for each in names if _folded(each) == _folded(name)), name)
        spelled[known] = spelled_as(value, names.get(known)) if isinstance(value, dict) else value
    return spelled


def _folded(name: str) -> str:
    return re.sub(r"\W", "_", name).lower()
