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
from .keys import KeyTree, key_tree, parsed_key
from .layers import DEFAULT, Origin, Path, Setting, dotted
from .loading import Loaded
from .locks import Lock
from .secrets import masked
from .structure import nearest, plain

_PLUGIN_TABLES = ("provider", "framework")


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
    tables = {}
    for each in attrs.fields(type(loaded.config)):
        table = getattr(loaded.config, each.name)
        if table is not None:
            tables[each.name] = _plain(table)
    for name in _PLUGIN_TABLES:
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
    found = tree.find(path) if path else None
    if found is None:
        known = tree.find(path[:-1]) if path else None
        near = nearest(str(path[-1]), known[1].names()) if path and known else None
        hint = f"; did you mean {dotted((*path[:-1], near))}?" if path and near else ""
        raise ConfigError(f"there is no key {key!r}{hint}")
    path, _ = found
    value: Any = effective(loaded)
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return tuple(_explained(loaded, tree, path, value))


def _explained(loaded: Loaded, tree: KeyTree, path: Path, value: Any) -> Iterator[Explanation]:
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from _explained(loaded, tree, (*path, name), each)
        return
    config, layers = loaded.config, loaded.assembled.layers
    origin = loaded.provenance.get(dotted(path)) or layers.origin(path)
    field = _field(tree, path)
    covered = [each for each in layers.history.get(path, []) if each.origin != origin]
    if field is not None and origin != DEFAULT and field.default is not attrs.NOTHING:
        default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
        covered.insert(0, Setting(_plain(default), DEFAULT))
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


def _field(tree: KeyTree, path: Path) -> Any:
    table = tree.find(path[:-1])
    return table[1].field(str(path[-1])) if table else None


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
