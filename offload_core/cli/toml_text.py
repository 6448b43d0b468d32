"""Values as TOML writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..config.keys import dotted


def toml(value: Any) -> str:
    """TOML's spelling; JSON's is a part of it for nearly all that a configuration is made of.

    TOML has no None: it is `"…"`, and left out of a table.
    """
    if value is None:
        return '"…"'
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{dotted((key,))} = {toml(each)}" for key, each in value.items() if each is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    # the one control character that JSON lets through
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
