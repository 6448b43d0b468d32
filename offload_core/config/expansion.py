"""`${NAME}` in the values of `[provider.env]`, and nowhere else: commands elsewhere are meant for a sandbox's shell."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\{(?P<inside>[^}]*)(?P<close>\}?)")


class ExpansionError(ValueError):
    """A reference is malformed, or its variable is not set."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace `${V}` (required), `${V:-default}` (used if V is unset; empty counts as set) and `$$` (a dollar sign).

    Raises:
        ExpansionError: `${}`, an unclosed `${`, or a required variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        if not match["close"]:
            raise ExpansionError(f"unclosed {match.group()!r}; write $$ for a dollar sign")
        name, has_default, default = match["inside"].partition(":-")
        if not name:
            raise ExpansionError("${} names no variable; write $$ for a dollar sign")
        if name in environ:
            return environ[name]
        if has_default:
            return default
        raise ExpansionError(f"the variable {name} is not set; set it, or give a default: ${{{name}:-…}}")

    return _REFERENCE.sub(value, text)
