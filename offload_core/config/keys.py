"""The names that a configuration can have, whatever is set: to tell whether a path means anything, and what."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs
from attrs import frozen

from .documents import Document
from .layers import Path
from .schema import Config, FrameworkTable, ProviderTable
from .structure import keys_of

_SHARED = (ProviderTable, FrameworkTable)
"""A plugin's keys stand among those of these tables, not in a table `options`."""


@frozen
class KeyTree:
    """A table, with the names that it can have; or a value, which has none.

    Attributes:
        kinds: the types that share the table: attrs classes, mappings, `Any`, or names with types.
    """

    kinds: tuple[Any, ...] = ()

    def child(self, name: str) -> tuple[str, KeyTree] | None:
        """The name by which the key goes (another one if it was given by an older name), and what is under it."""
        field = self.field(name)
        if field is not None:
            return field.name, KeyTree(arms(field.type))
        for kind in self.kinds:
            if isinstance(kind, Mapping):
                if name in kind:
                    return name, kind[name]
            elif kind in (Any, object):
                return name, self
            elif _is_mapping(kind):
                return name, KeyTree(arms((get_args(kind) or (str, Any))[1]))
        return None

    def field(self, name: str) -> Any:
        """The attrs field of a key, if it has one."""
        for cls in self._classes():
            for each in _fields(cls):
                if name in (each.name, each.metadata.get("alias")) and not (cls in _SHARED and each.name == "options"):
                    return each
        return None

    def names(self) -> tuple[str, ...]:
        """The names that are known beforehand, older ones included."""
        tables = [name for kind in self.kinds if isinstance(kind, Mapping) for name in kind]
        return (*tables, *(name for cls in self._classes() for name in keys_of(cls)))

    def _classes(self) -> Iterator[type]:
        return (kind for kind in self.kinds if isinstance(kind, type) and attrs.has(kind))

    def find(self, path: Path) -> tuple[Path, KeyTree] | None:
        """The path in today's names, and what is there; None if a configuration has no such place."""
        found: Path = ()
        tree = self
        for part in path:
            child = tree.child(str(part))
            if child is None:
                return None
            found, tree = (*found, child[0]), child[1]
        return found, tree

    def spelled(self, path: Path) -> Path:
        """The path in today's names, as far as it is known."""
        found: Path = ()
        tree: KeyTree | None = self
        for part in path:
            child = tree.child(part) if tree and isinstance(part, str) else None
            name, tree = child or (part, None)
            found = (*found, name)
        return found

    def in_todays_names(self, document: Document) -> Document:
        """The document without older names: locks and stronger layers must not be passed by under another name."""
        moved = {where: self.spelled(where) for where in document.origins}
        # a key given by both names counts by today's, so that one comes last
        order = sorted(moved, key=lambda where: where == moved[where])
        origins = {moved[where]: document.origins[where] for where in order}
        return Document(_renamed(document.values, self), document.origin, origins)


def key_tree(provider: type | None, framework: type | None) -> KeyTree:
    """The names of a whole configuration, with these plugins (None: any name may be the plugin's)."""
    tables: dict[str, KeyTree] = {}
    for each in _fields(Config):
        tables[each.name] = KeyTree(arms(each.type))
    for name, table, plugin in (("provider", ProviderTable, provider), ("framework", FrameworkTable, framework)):
        tables[name] = KeyTree((table, Any if plugin is None else plugin.Options))  # type: ignore[attr-defined]
    return KeyTree((tables,))


def arms(annotation: Any) -> tuple[Any, ...]:
    """The types that a value can have, but None."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(each for each in get_args(annotation) if each is not NoneType)
    return (annotation,)


def parsed_key(text: str) -> Path | None:
    """A dotted key as TOML writes it (`groups."slow tests".filters`), or None if it is none."""
    try:
        values: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return None
    path: Path = ()
    while isinstance(values, dict) and len(values) == 1:
        [(name, values)] = values.items()
        path = (*path, name)
    return path if values == 0 else None


def _renamed(values: Mapping[str, Any], tree: KeyTree) -> dict[str, Any]:
    renamed = {}
    for name, value in values.items():
        known, inner = tree.child(name) or (name, KeyTree())
        if known == name or known not in values:
            renamed[known] = _renamed(value, inner) if isinstance(value, dict) else value
    return renamed


def _fields(cls: Any) -> Any:
    attrs.resolve_types(cls)
    return attrs.fields(cls)


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)
