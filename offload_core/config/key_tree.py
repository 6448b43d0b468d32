"""The keys that a configuration can have, whatever is set: to tell whether a path means anything, and what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen

from .annotations import arms, element_of, fields_of, is_mapping, keys_of
from .documents import Document
from .keys import KeyPath
from .schema import PLUGIN_TABLES, Config


@frozen
class KeyTree:
    """A table, with the keys that it can have; or a value, which has none.

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
            elif is_mapping(kind):
                return name, KeyTree(arms(element_of(kind)))
        return None

    def field(self, name: str) -> Any:
        """The attrs field of a key, if it has one."""
        for cls in self._classes():
            for each in fields_of(cls):
                if name in (each.name, each.metadata.get("alias")):
                    return each
        return None

    def names(self) -> tuple[str, ...]:
        """The names that are known beforehand, older ones included."""
        tables = [name for kind in self.kinds if isinstance(kind, Mapping) for name in kind]
        return (*tables, *(name for cls in self._classes() for name in keys_of(cls)))

    def find(self, path: KeyPath) -> KeyTree | None:
        """What is at the path; None if a configuration has no such place."""
        return self._walk(path)[1]

    def canonical_path(self, path: KeyPath) -> KeyPath:
        """The path in today's names, as far as it is known."""
        return self._walk(path)[0]

    def canonical(self, document: Document) -> Document:
        """The document in today's names: under another one nothing must pass by a lock or a stronger layer."""
        moved = {where: self.canonical_path(where) for where in document.origins}
        # a key given by both names counts by today's, so that one comes last
        order = sorted(moved, key=lambda where: where == moved[where])
        origins = {moved[where]: document.origins[where] for where in order}
        return Document(_renamed(document.values, self), document.origin, origins)

    def _walk(self, path: KeyPath) -> tuple[KeyPath, KeyTree | None]:
        found: KeyPath = ()
        tree: KeyTree | None = self
        for part in path:
            child = tree.child(part) if tree and isinstance(part, str) else None
            name, tree = child or (part, None)
            found = (*found, name)
        return found, tree

    def _classes(self) -> Iterator[type]:
        return (kind for kind in self.kinds if isinstance(kind, type) and attrs.has(kind))


def key_tree(provider: type | None = None, framework: type | None = None) -> KeyTree:
    """The keys of a whole configuration, with these plugins (None: any name may be the plugin's)."""
    tables = {each.name: KeyTree(arms(each.type)) for each in fields_of(Config)}
    for (name, table), plugin in zip(PLUGIN_TABLES.items(), (provider, framework), strict=True):
        tables[name] = KeyTree((table, Any if plugin is None else plugin.Options))  # type: ignore[attr-defined]
    return KeyTree((tables,))


def _renamed(values: Mapping[str, Any], tree: KeyTree) -> dict[str, Any]:
    renamed = {}
    for name, value in values.items():
        known, inner = tree.child(name) or (name, KeyTree())
        if known == name or known not in values:
            renamed[known] = _renamed(value, inner) if isinstance(value, dict) else value
    return renamed
