"""A documented field of a table of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field


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
        default: used when the key is absent; an empty dict or list is made anew for each object.
        doc: one sentence for the configuration reference.
        alias: an older name that is accepted too.
        example: what `offload init` writes for a key without a default, to be adapted.
        inert: why the key is accepted but does nothing: using it warns with that.
        validator: as in `attrs.field`; a ValueError from it that names the field gets the file and line of the key.
    """
    metadata = {"doc": doc, "alias": alias, "inert": inert, "example": example}
    if isinstance(default, (dict, list)):
        return field(factory=type(default), metadata=metadata, validator=validator)
    return field(default=default, metadata=metadata, validator=validator)
