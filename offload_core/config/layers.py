"""Layers of raw values, laid over each other weakest first, before anything is given a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from .documents import Document, origin_at, value_at
from .keys import DEFAULT, KeyPath, Origin


@frozen
class Setting:
    """A value that a layer has for a key, whether a stronger layer covers it or not."""

    value: Any
    origin: Origin


@define
class Layers:
    """The values of all layers so far, the origin of each, and for each key what was laid for it, weakest first."""

    values: dict[str, Any] = field(factory=dict)
    origins: dict[KeyPath, Origin] = field(factory=dict)
    history: dict[KeyPath, list[Setting]] = field(factory=dict)

    def lay(self, document: Document) -> None:
        """Lay a stronger layer over what is there: tables are merged key by key, everything else is replaced."""
        self._merge(self.values, document.values, (), document)

    def get(self, path: KeyPath) -> Any:
        """The value at `path`, or `MISSING`."""
        return value_at(self.values, path)

    def origin(self, path: KeyPath) -> Origin:
        """Where the value at `path`, or the nearest table around it, was set."""
        return origin_at(self.origins, path) or DEFAULT

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
