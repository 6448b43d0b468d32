"""Formulas as trees, and trees as text again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .address import Cell, Range, column_name


@dataclass(frozen=True)
class Literal:
    value: float | str | bool


@dataclass(frozen=True)
class Reference:
    """A cell; `fixed_*` are the `$` signs: such a part does not move when the formula is copied."""

    cell: Cell
    fixed_column: bool = False
    fixed_row: bool = False


@dataclass(frozen=True)
class Area:
    first: Reference
    last: Reference

    @property
    def range(self) -> Range:
        return Range.spanning(self.first.cell, self.last.cell)


@dataclass(frozen=True)
class Unary:
    operator: str
    operand: Node


@dataclass(frozen=True)
class Binary:
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Broken:
    """A reference that pointed beyond the edge after a move."""


Node = Literal | Reference | Area | Unary | Binary | Call | Broken

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
PRECEDENCE = {**dict.fromkeys(COMPARISONS, 1), "&": 2, "+": 3, "-": 3, "*": 4, "/": 4, "^": 6}
NEGATION = 5
PERCENT = 7
ATOM = 8


def references(node: Node) -> Iterator[Range]:
    """Every range that a formula reads; a single cell is a range of one."""
    match node:
        case Reference(cell):
            yield Range(cell, cell)
        case Area():
            yield node.range
        case Unary(_, operand):
            yield from references(operand)
        case Binary(_, left, right):
            yield from references(left)
            yield from references(right)
        case Call(_, arguments):
            for argument in arguments:
                yield from references(argument)


def moved(node: Node, rows: int, columns: int) -> Node:
    """The formula as it reads after it was copied so far: relative references move along."""
    match node:
        case Reference():
            row = node.cell.row + (0 if node.fixed_row else rows)
            column = node.cell.column + (0 if node.fixed_column else columns)
            if row < 0 or column < 0:
                return Broken()
            return Reference(Cell(row, column), node.fixed_column, node.fixed_row)
        case Area(first, last):
            corners = (moved(first, rows, columns), moved(last, rows, columns))
            if isinstance(corners[0], Reference) and isinstance(corners[1], Reference):
                return Area(corners[0], corners[1])
            return Broken()
        case Unary(operator, operand):
            return Unary(operator, moved(operand, rows, columns))
        case Binary(operator, left, right):
            return Binary(operator, moved(left, rows, columns), moved(right, rows, columns))
        case Call(name, arguments):
            return Call(name, tuple(moved(argument, rows, columns) for argument in arguments))
    return node


def unparse(node: Node) -> str:
    """The text of a formula, with no more parentheses than it needs."""
    return _unparse(node)[0]


def _unparse(node: Node) -> tuple[str, int]:
    match node:
        case Literal(bool() as value):
            return ("TRUE" if value else "FALSE"), ATOM
        case Literal(str() as value):
            return '"' + value.replace('"', '""') + '"', ATOM
        case Literal(value):
            return repr(value).removesuffix(".0"), ATOM
        case Reference(cell, fixed_column, fixed_row):
            column = "$" * fixed_column + column_name(cell.column)
            return column + "$" * fixed_row + str(cell.row + 1), ATOM
        case Area(first, last):
            return f"{unparse(first)}:{unparse(last)}", ATOM
        case Call(name, arguments):
            return f"{name}({','.join(unparse(argument) for argument in arguments)})", ATOM
        case Unary("%", operand):
            return _wrapped(operand, PERCENT) + "%", PERCENT
        case Unary(operator, operand):
            return operator + _wrapped(operand, NEGATION), NEGATION
        case Binary(operator, left, right):
            level = PRECEDENCE[operator]
            # `^` associates to the right, everything else to the left.
            sides = (level + 1, level) if operator == "^" else (level, level + 1)
            return _wrapped(left, sides[0]) + operator + _wrapped(right, sides[1]), level
    return "#REF!", ATOM


def _wrapped(node: Node, level: int) -> str:
    text, own = _unparse(node)
    return text if own >= level else f"({text})"
