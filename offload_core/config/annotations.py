"""What the types of a table's fields say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs


def fields_of(cls: Any) -> list[Any]:
    """The fields of an attrs class that are keys, with their types resolved."""
    attrs.resolve_types(cls)
    return [each for each in attrs.fields(cls) if not each.metadata.get("no_key")]


def keys_of(cls: type) -> tuple[str, ...]:
    """The names a table has, older ones included."""
    return tuple(name for each in fields_of(cls) for name in (each.name, each.metadata.get("alias")) if name)


def default_of(each: Any) -> Any:
    """The default of a field; `attrs.NOTHING` if it has none."""
    return each.default.factory() if isinstance(each.default, attrs.Factory) else each.default  # type: ignore[arg-type]


def is_union(annotation: Any) -> bool:
    """Whether it is `A | B` or `Optional[A]`."""
    return get_origin(annotation) in (Union, UnionType)


def arms(annotation: Any) -> tuple[Any, ...]:
    """The types that a value can have, but None."""
    return tuple(
        each for each in (get_args(annotation) if is_union(annotation) else [annotation]) if each is not NoneType
    )


def is_mapping(annotation: Any) -> bool:
    """Whether it is a table with any names."""
    return _is_a(annotation, Mapping)


def is_sequence(annotation: Any) -> bool:
    """Whether it is a list, or a set of which the order does not count."""
    return _is_a(annotation, Sequence, set, frozenset) and not _is_a(annotation, str)


def element_of(annotation: Any) -> Any:
    """The type of what is in a list or a table; `Any` if that is not said."""
    arguments = [each for each in get_args(annotation) if each is not Ellipsis]
    return arguments[-1] if arguments else Any


def _is_a(annotation: Any, *bases: type) -> bool:
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, bases)
