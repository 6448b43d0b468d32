"""From tokens to a tree: precedence climbing.

Loosest first: comparisons, `&`, `+ -`, `* /`, the sign, `^` (to the right), `%`. As in mathematics, and unlike in most
spreadsheets, `-2^2` is -4.
"""

from __future__ import annotations

from .address import Cell
from .cache import Cache
from .errors import FormulaError
from .lexer import Kind, Token, tokenize
from .syntax import NEGATION, PRECEDENCE, Area, Binary, Call, Literal, Node, Reference, Unary

MAX_DEPTH = 100
MAX_AREA = 1_000_000

_trees: Cache[str, Node] = Cache(capacity=2048)


def parse(text: str) -> Node:
    """The tree of a formula, given without its leading `=`.

    >>> parse("1+2*A1").operator
    '+'

    Raises FormulaError with the position of what is wrong.
    """
    found = _trees.get(text)
    if found is None:
        found = _Parser(tokenize(text)).whole()
        _trees.put(text, found)
    return found


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._token.kind is not Kind.END:
            raise FormulaError(f"unexpected {self._token.text!r}", self._token.position)
        return node

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._token
        self._next += 1
        return token

    def _accept(self, text: str) -> bool:
        if self._token.kind is Kind.OPERATOR and self._token.text == text:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            found = repr(self._token.text) if self._token.text else "the end"
            raise FormulaError(f"expected {text!r}, found {found}", self._token.position)

    def _expression(self, lowest: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError("nested too deeply", self._token.position)
        left = self._signed()
        while self._token.kind is Kind.OPERATOR and PRECEDENCE.get(self._token.text, -1) >= lowest:
            operator = self._take().text
            level = PRECEDENCE[operator]
            left = Binary(operator, left, self._expression(level if operator == "^" else level + 1))
        self._depth -= 1
        return left

    def _signed(self) -> Node:
        if self._token.kind is Kind.OPERATOR and self._token.text in "+-":
            sign = self._take().text
            operand = self._expression(NEGATION)
            return operand if sign == "+" else Unary("-", operand)
        node = self._atom()
        while self._accept("%"):
            node = Unary("%", node)
        return node

    def _atom(self) -> Node:
        token = self._take()
        match token.kind:
            case Kind.NUMBER:
                return Literal(float(token.text))
            case Kind.TEXT:
                return Literal(token.text[1:-1].replace('""', '"'))
            case Kind.CELL:
                return self._reference(token)
            case Kind.NAME:
                return self._named(token)
            case Kind.OPERATOR if token.text == "(":
                node = self._expression(0)
                self._expect(")")
                return node
        what = f"unexpected {token.text!r}" if token.text else "the formula ends too early"
        raise FormulaError(what, token.position)

    def _reference(self, token: Token) -> Node:
        first = _as_reference(token.text)
        if not self._accept(":"):
            return first
        if self._token.kind is not Kind.CELL:
            raise FormulaError("a range needs a second cell", self._token.position)
        area = Area(first, _as_reference(self._take().text))
        if len(area.range) > MAX_AREA:
            raise FormulaError(f"{area.range} is too large", token.position)
        return area

    def _named(self, token: Token) -> Node:
        name = token.text.upper()
        if not self._accept("("):
            if name in ("TRUE", "FALSE"):
                return Literal(name == "TRUE")
            raise FormulaError(f"unknown name {token.text!r}", token.position)
        arguments: list[Node] = []
        if not self._accept(")"):
            arguments.append(self._expression(0))
            while self._accept(","):
                arguments.append(self._expression(0))
            self._expect(")")
        return Call(name, tuple(arguments))


def _as_reference(text: str) -> Reference:
    return Reference(Cell.parse(text), text.startswith("$"), "$" in text[1:])
