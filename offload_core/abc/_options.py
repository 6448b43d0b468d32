"""A documented field of a table of the configuration."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from copy import copy
from typing import Any

from attrs import Attribute, field


def key(
    default: Any,
    doc: str,
    *,
    alias: str | None = None,
    inert: str = "",
    example: str = "",
    validator: Callable[[Any, Any, Any], Any] | None = None,
) -> Any:
    """A field of a plugin's `Options` or of the core's own tables.

    Args:
        default: used when the key is absent; a dict or list is made anew for each object.
        doc: one sentence for the configuration reference.
        alias: an older name that is accepted too.
        example: what `offload init` writes for a key without a default, to be adapted.
        inert: why the key is accepted but does nothing: using it warns with that.
        validator: as in `attrs.field`; a ValueError from it that names the field gets the file and line of the key.
    """
    metadata = {"doc": doc, "alias": alias, "inert": inert, "example": example}
    if isinstance(default, (dict, list)):
        return field(factory=lambda: copy(default), metadata=metadata, validator=validator)
    return field(default=default, metadata=metadata, validator=validator)


def shell_words(instance: object, attribute: Attribute[str], value: str) -> None:
    """A validator for texts that are split as a shell would. A key whose default is not empty must not be empty.

    Raises:
        ValueError: it cannot be split, or is empty; names the key.
    """
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"'{attribute.name}' cannot be split into words: {error}") from None
    if attribute.default and not words:
        raise ValueError(f"'{attribute.name}' is empty; the default is `{attribute.default}`")


def local_and_remote(instance: object, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    """A validator for pairs LOCAL:REMOTE, of which neither is empty.

    Raises:
        ValueError: one is something else; names the key.
    """
    for pair in value:
        here, _, there = pair.partition(":")
        if not (here and there):
            raise ValueError(f"{attribute.name}: {pair!r} is not of the form LOCAL:REMOTE")
