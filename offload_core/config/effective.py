"""The effective configuration as plain values, and for each key where its value comes from and what it covers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs
from attrs import frozen

from ..errors import ConfigError
from ..suggestion import did_you_mean
from .annotations import default_of
from .documents import MISSING, plain, value_at
from .key_tree import KeyTree, key_tree
from .keys import DEFAULT, KeyPath, Origin, dotted, parsed_key
from .layers import Setting
from .loading import Loaded
from .locks import Lock
from .schema import PLUGIN_TABLES
from .secrets import masked


@frozen(kw_only=True)
class Explanation:
    """All there is to say about the value of a key. Secrets are masked.

    Attributes:
        value: None if it is not set and has no default.
        overrides: what weaker layers have for it, strongest first.
        lock: what keeps it from being set, if it is locked.
        doc: what the key means.
    """

    key: str
    value: Any
    origin: Origin
    overrides: tuple[Setting, ...]
    lock: Lock | None
    doc: str


def effective(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """All tables, with the values that count, as TOML would have them; None for what is not set. Secrets are masked."""
    tables = {name: table for name, table in _plain(loaded.config).items() if table is not None}
    for name in PLUGIN_TABLES:
        tables[name] |= tables[name].pop("options")
    shown: dict[str, dict[str, Any]] = masked(tables, loaded.config, os.environ)
    return shown


def explain(loaded: Loaded, key: str) -> tuple[Explanation, ...]:
    """What there is to say about a key, or about every key in a table.

    Raises:
        ConfigError: a configuration has no such key.
    """
    tree = key_tree(loaded.provider_class, loaded.framework_class)
    path = parsed_key(key)
    if not path or not tree.find(path):
        *around, name = path or ("",)
        table = tree.find(tuple(around))
        form = f"; did you mean {dotted((*around, '{}'))}?".replace('"{}"', "{}")
        raise ConfigError(f"there is no key {key!r}{did_you_mean(name, table.names() if table else (), form)}")
    found = tree.canonical_path(path)
    value = value_at(effective(loaded), found)
    return tuple(_explained(loaded, tree, found, None if value is MISSING else value))


def _explained(loaded: Loaded, tree: KeyTree, path: KeyPath, value: Any) -> Iterator[Explanation]:
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from _explained(loaded, tree, (*path, name), each)
        return
    config, layers = loaded.config, loaded.assembled.layers
    origin = loaded.provenance.get(dotted(path)) or layers.at(path)
    field = _field(tree, path)
    covered = [each for each in layers.history.get(path, []) if each.origin != origin]
    if field is not None and origin != DEFAULT and field.default is not attrs.NOTHING:
        covered.insert(0, Setting(_plain(default_of(field)), DEFAULT))
    yield Explanation(
        key=dotted(path),
        value=value,
        origin=origin,
        overrides=tuple(
            Setting(masked(plain(each.value), config, os.environ, name=str(path[-1])), each.origin)
            for each in reversed(covered)
        ),
        lock=loaded.assembled.locks.on(path),
        doc=field.metadata.get("doc", "") if field is not None else "",
    )


def _field(tree: KeyTree, path: KeyPath) -> Any:
    table = tree.find(path[:-1])
    return table.field(str(path[-1])) if table else None


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {each.name: _plain(getattr(value, each.name)) for each in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, PurePath) else value
