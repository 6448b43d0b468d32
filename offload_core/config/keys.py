"""Keys as paths and as TOML writes them, where the value of one was set, and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import frozen
from typing_extensions import override

from ..errors import ConfigError

KeyPath = tuple[str | int, ...]
"""From the top of the configuration: keys, and positions in lists."""

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

    @override
    def __str__(self) -> str:
        if self.layer is Layer.DEFAULT:
            return "default"
        return f"{self.source}:{self.line}" if self.line else self.source


DEFAULT = Origin(Layer.DEFAULT)


def dotted(path: KeyPath) -> str:
    """The path as TOML would write it: `groups."slow tests".filters`, `report.download_globs[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        quoted = part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f".{quoted}" if text else quoted
    return text


def located(origin: Origin | str, path: KeyPath, words: str) -> str:
    """What is wrong with the value of a key, as all messages have it."""
    return f"{origin}: {dotted(path)}: {words}"


def refuse(problems: Iterable[str]) -> None:
    """Do nothing if nothing is wrong.

    Raises:
        ConfigError: names every problem, one a line.
    """
    if text := "\n".join(problems):
        raise ConfigError(text)


def parsed_key(text: str) -> tuple[str, ...] | None:
    """A dotted key as TOML writes it (`groups."slow tests".filters`), or None if it is none."""
    try:
        values: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return None
    path: tuple[str, ...] = ()
    while isinstance(values, dict) and len(values) == 1:
        [(name, values)] = values.items()
        path = (*path, name)
    return path if values == 0 else None
