"""What a cell can hold, and how one kind of value becomes another."""

from __future__ import annotations

import math
from enum import Enum


class Problem(Enum):
    """An error that travels through formulas as a value."""

    DIVISION = "#DIV/0!"
    NAME = "#NAME?"
    VALUE = "#VALUE!"
    NUMBER = "#NUM!"
    CYCLE = "#CYCLE!"
    REFERENCE = "#REF!"
    SYNTAX = "#SYNTAX!"

    def __str__(self) -> str:
        return self.value


Value = float | str | bool | Problem | None
"""None is an empty cell."""


def parse_literal(text: str) -> Value:
    """The value that a text typed into a cell stands for.

    >>> parse_literal(" 12.50 "), parse_literal("TRUE"), parse_literal("twelve"), parse_literal("")
    (12.5, True, 'twelve', None)
    >>> parse_literal("'12")
    '12'
    >>> parse_literal("50%")
    0.5
    """
    stripped = text.strip()
    if not stripped:
        return None
    if text.startswith("'"):
        return text[1:]
    if stripped.upper() in ("TRUE", "FALSE"):
        return stripped.upper() == "TRUE"
    number = _number(stripped[:-1]) if stripped.endswith("%") else _number(stripped)
    if number is None:
        return text
    return number / 100 if stripped.endswith("%") else number


def _number(text: str) -> float | None:
    if not text or text[-1] not in "0123456789." or any(letter in text.lower() for letter in "ni_"):
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def to_number(value: Value) -> float | Problem:
    """A value where a number is needed: empty is 0, texts are read, what is no number is `#VALUE!`."""
    match value:
        case Problem():
            return value
        case None:
            return 0.0
        case bool():
            return float(value)
        case str():
            read = parse_literal(value)
            return read if isinstance(read, float) else Problem.VALUE
    return value


def to_text(value: Value) -> str:
    """A value as it is shown.

    >>> [to_text(value) for value in (3.0, 0.1 + 0.2, True, None, "x", Problem.CYCLE)]
    ['3', '0.3', 'TRUE', '', 'x', '#CYCLE!']
    """
    match value:
        case None:
            return ""
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return f"{value:.12g}"
    return str(value)


def to_truth(value: Value) -> bool | Problem:
    """A value where a condition is needed. A text is a condition only if it reads TRUE or FALSE."""
    match value:
        case Problem():
            return value
        case str():
            read = parse_literal(value)
            return read if isinstance(read, bool) else Problem.VALUE
    return bool(value)
