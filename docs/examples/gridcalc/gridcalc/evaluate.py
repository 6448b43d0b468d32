"""The value of a formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from .address import Cell, Range
from .functions import Argument, apply, compare
from .syntax import COMPARISONS, Area, Binary, Broken, Call, Literal, Node, Reference, Unary
from .values import Problem, Value, to_number, to_text, to_truth

Lookup = Callable[[Cell], Value]
Walk = Callable[[Range], Iterable[Value]]


class Evaluator:
    """Evaluates trees. `lookup` gives the value of a cell; `walk` those of a range, by default cell by cell."""

    def __init__(self, lookup: Lookup, walk: Walk | None = None) -> None:
        self._lookup = lookup
        self._walk = walk or (lambda area: map(lookup, area))

    def value(self, node: Node) -> Value:
        """The value of a tree. Never raises for anything a formula can say: problems are values.

        >>> from gridcalc.parser import parse
        >>> Evaluator(lambda cell: 20.0).value(parse("A1*2+2"))
        42.0
        """
        match node:
            case Literal(value):
                return value
            case Reference(cell):
                return self._lookup(cell)
            case Unary(operator, operand):
                number = to_number(self.value(operand))
                if isinstance(number, Problem):
                    return number
                return -number if operator == "-" else number / 100
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)
            case Broken():
                return Problem.REFERENCE
        return Problem.VALUE  # a range where one value is needed

    def _binary(self, node: Binary) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator in COMPARISONS:
            return compare(node.operator, left, right)
        if node.operator == "&":
            for side in (left, right):
                if isinstance(side, Problem):
                    return side
            return to_text(left) + to_text(right)
        one, other = to_number(left), to_number(right)
        if isinstance(one, Problem):
            return one
        if isinstance(other, Problem):
            return other
        return _arithmetic(node.operator, one, other)

    def _call(self, node: Call) -> Value:
        if node.name == "IF" and 2 <= len(node.arguments) <= 3:
            return self._if(node)
        if node.name == "IFERROR" and len(node.arguments) == 2:
            value = self.value(node.arguments[0])
            return self.value(node.arguments[1]) if isinstance(value, Problem) else value
        return apply(node.name, [self._argument(argument) for argument in node.arguments])

    def _if(self, node: Call) -> Value:
        """Only the branch that is taken is evaluated."""
        condition = to_truth(self.value(node.arguments[0]))
        if isinstance(condition, Problem):
            return condition
        if condition:
            return self.value(node.arguments[1])
        return self.value(node.arguments[2]) if len(node.arguments) == 3 else False

    def _argument(self, node: Node) -> Argument:
        return list(self._walk(node.range)) if isinstance(node, Area) else self.value(node)


def _arithmetic(operator: str, left: float, right: float) -> Value:
    try:
        match operator:
            case "+":
                result = left + right
            case "-":
                result = left - right
            case "*":
                result = left * right
            case "/":
                result = left / right
            case _:
                result = math.pow(left, right)
    except ZeroDivisionError:
        return Problem.DIVISION
    except (ValueError, OverflowError):
        return Problem.DIVISION if left == 0 else Problem.NUMBER
    return result if math.isfinite(result) else Problem.NUMBER
