"""Tests by name in nextest's filterset language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

MAX_CHARS = 100_000
"""How long one expression may be: one argument of a program can have 128 KiB."""

_PLAIN = re.compile(r"[A-Za-z0-9_:.]")


def expressions(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Expressions that together select these tests and no others; `names` has tests by the id of their binary."""
    for binary, tests in names.items():
        prefix = f"binary_id(={_quoted(binary)})&("
        part: list[str] = []
        size = 0
        for test in tests:
            matcher = f"test(={_quoted(test)})"
            if part and size + len(matcher) > MAX_CHARS:
                yield prefix + "|".join(part) + ")"
                part, size = [], 0
            part.append(matcher)
            size += len(matcher) + 1
        yield prefix + "|".join(part) + ")"


def _quoted(name: str) -> str:
    """Escaped so that nothing in it means anything."""
    return "".join(each if _PLAIN.fullmatch(each) else f"\\u{{{ord(each):x}}}" for each in name)
