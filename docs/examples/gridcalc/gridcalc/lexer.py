"""A formula's text as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from .errors import FormulaError


class Kind(Enum):
    NUMBER = "number"
    TEXT = "text"
    CELL = "cell"
    NAME = "name"
    OPERATOR = "operator"
    END = "end"


@dataclass(frozen=True)
class Token:
    kind: Kind
    text: str
    position: int


_PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<text>"(?:[^"]|"")*")
  | (?P<cell>\$?[A-Za-z]{1,3}\$?[1-9]\d{0,6}(?![\w(.]))
  | (?P<name>[A-Za-z_][\w.]*)
  | (?P<operator><>|<=|>=|[-+*/^&=<>(),:%])
    """,
    re.VERBOSE,
)


def tokenize(text: str) -> list[Token]:
    """The tokens of a formula (without its leading `=`), ending with one of kind END.

    >>> [token.text for token in tokenize('SUM(A1:B2)*2')]
    ['SUM', '(', 'A1', ':', 'B2', ')', '*', '2', '']

    Raises FormulaError at the first character that starts no token.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            what = "text without an end" if text[position] == '"' else f"unexpected {text[position]!r}"
            raise FormulaError(what, position)
        group = match.lastgroup
        assert group is not None  # every alternative is named
        if group != "space":
            tokens.append(Token(Kind(group), match.group(), position))
        position = match.end()
    tokens.append(Token(Kind.END, "", position))
    return tokens
