"""What was probably meant by a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], form: str = "; did you mean {}?") -> str:
    """The known name that is nearest, in place of `{}` in `form`; nothing if none is near."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.7)
    return form.replace("{}", near[0]) if near else ""
