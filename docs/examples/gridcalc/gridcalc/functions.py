"""The functions that formulas can call.

A function gets its arguments evaluated: a single value, or a list of values for a range. What it cannot use, it answers
with a `Problem`; problems among its arguments come back as its result, unless it is there to look at them.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .values import Problem, Value, parse_literal, to_number, to_text, to_truth

Argument = Value | list[Value]


@dataclass(frozen=True)
class Function:
    """`most` is None where any number of arguments is welcome."""

    call: Callable[..., Value]
    least: int
    most: int | None


FUNCTIONS: dict[str, Function] = {}


def _function(name: str, least: int, most: int | None) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def register(call: Callable[..., Value]) -> Callable[..., Value]:
        FUNCTIONS[name] = Function(call, least, most)
        return call

    return register


def apply(name: str, arguments: Sequence[Argument]) -> Value:
    """Call a function by its upper-case name.

    >>> apply("SUM", [[1.0, None, 2.5], 4.0])
    7.5
    >>> str(apply("NOSUCH", []))
    '#NAME?'
    """
    function = FUNCTIONS.get(name)
    if function is None:
        return Problem.NAME
    if len(arguments) < function.least or (function.most is not None and len(arguments) > function.most):
        return Problem.VALUE
    return function.call(*arguments)


def _flat(arguments: Sequence[Argument]) -> Iterator[Value]:
    for argument in arguments:
        if isinstance(argument, list):
            yield from argument
        else:
            yield argument


def _single(argument: Argument) -> Value:
    return Problem.VALUE if isinstance(argument, list) else argument


def _numbers(arguments: Sequence[Argument]) -> list[float] | Problem:
    """In ranges only numbers count; given alone, texts are read as numbers."""
    found: list[float] = []
    for argument in arguments:
        for value in argument if isinstance(argument, list) else [argument]:
            if isinstance(value, Problem):
                return value
            if isinstance(value, float):
                found.append(value)
            elif not isinstance(argument, list):
                number = to_number(value)
                if isinstance(number, Problem):
                    return number
                found.append(number)
    return found


def _over_numbers(name: str, reduce: Callable[[list[float]], Value], empty: Value) -> None:
    def call(*arguments: Argument) -> Value:
        numbers = _numbers(arguments)
        if isinstance(numbers, Problem):
            return numbers
        return reduce(numbers) if numbers else empty

    FUNCTIONS[name] = Function(call, 1, None)


def _variance(numbers: list[float]) -> Value:
    if len(numbers) < 2:
        return Problem.DIVISION
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)


def _median(numbers: list[float]) -> float:
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


_over_numbers("SUM", math.fsum, 0.0)
_over_numbers("PRODUCT", math.prod, 0.0)
_over_numbers("MIN", min, 0.0)
_over_numbers("MAX", max, 0.0)
_over_numbers("AVERAGE", lambda numbers: math.fsum(numbers) / len(numbers), Problem.DIVISION)
_over_numbers("MEDIAN", _median, Problem.NUMBER)
_over_numbers("VAR", _variance, Problem.DIVISION)


@_function("COUNT", 1, None)
def _count(*arguments: Argument) -> Value:
    return float(sum(isinstance(value, float) for value in _flat(arguments)))


@_function("COUNTA", 1, None)
def _counta(*arguments: Argument) -> Value:
    return float(sum(value is not None for value in _flat(arguments)))


@_function("COUNTIF", 2, 2)
def _countif(values: Argument, criterion: Argument) -> Value:
    matches = _criterion(_single(criterion))
    return float(sum(matches(value) for value in _flat([values])))


@_function("SUMIF", 2, 3)
def _sumif(values: Argument, criterion: Argument, summed: Argument | None = None) -> Value:
    matches = _criterion(_single(criterion))
    looked_at = list(_flat([values]))
    added = looked_at if summed is None else list(_flat([summed]))
    pairs = zip(looked_at, added, strict=False)
    return math.fsum(number for value, number in pairs if matches(value) and isinstance(number, float))


def _criterion(criterion: Value) -> Callable[[Value], bool]:
    """`">3"`, `"<>x"`, `"a*"` or a plain value, as COUNTIF and SUMIF take it."""
    if not isinstance(criterion, str):
        return lambda value: type(value) is type(criterion) and value == criterion
    operator = next((sign for sign in ("<>", "<=", ">=", "<", ">", "=") if criterion.startswith(sign)), "=")
    wanted = parse_literal(criterion.removeprefix(operator))
    if isinstance(wanted, float):
        return lambda value: isinstance(value, float) and compare(operator, value, wanted) is True
    if isinstance(wanted, bool):
        return lambda value: isinstance(value, bool) and compare(operator, value, wanted) is True
    pattern = to_text(wanted).lower()
    if operator in ("=", "<>"):
        return lambda value: _matches(value, pattern) is (operator == "=")
    return lambda value: isinstance(value, str) and compare(operator, value.lower(), pattern) is True


def _matches(value: Value, pattern: str) -> bool:
    """Only a text matches a pattern; an empty cell matches the empty one."""
    return isinstance(value, str | None) and fnmatch.fnmatchcase(to_text(value).lower(), pattern)


def compare(operator: str, left: Value, right: Value) -> bool | Problem:
    """A comparison. Numbers come before texts, texts before truth values; texts compare without regard to case."""
    for side in (left, right):
        if isinstance(side, Problem):
            return side
    one, other = _rank(left, right), _rank(right, left)
    return {
        "=": one == other,
        "<>": one != other,
        "<": one < other,
        "<=": one <= other,
        ">": one > other,
        ">=": one >= other,
    }[operator]


def _rank(value: Value, other: Value) -> tuple[int, float, str]:
    """An empty cell counts as the empty text beside a text, as FALSE beside a truth value, else as 0."""
    match value:
        case bool():
            return (2, float(value), "")
        case str():
            return (1, 0.0, value.lower())
        case float():
            return (0, value, "")
    match other:
        case bool():
            return (2, 0.0, "")
        case str():
            return (1, 0.0, "")
    return (0, 0.0, "")


@_function("AND", 1, None)
def _and(*arguments: Argument) -> Value:
    return _truths(arguments, all)


@_function("OR", 1, None)
def _or(*arguments: Argument) -> Value:
    return _truths(arguments, any)


def _truths(arguments: Sequence[Argument], reduce: Callable[[list[bool]], bool]) -> Value:
    truths: list[bool] = []
    for value in _flat(arguments):
        truth = to_truth(value)
        if isinstance(truth, Problem):
            return truth
        truths.append(truth)
    return reduce(truths)


@_function("NOT", 1, 1)
def _not(argument: Argument) -> Value:
    truth = to_truth(_single(argument))
    return truth if isinstance(truth, Problem) else not truth


def _numeric(name: str, calculate: Callable[..., float], least: int, most: int) -> None:
    def call(*arguments: Argument) -> Value:
        numbers: list[float] = []
        for argument in arguments:
            number = to_number(_single(argument))
            if isinstance(number, Problem):
                return number
            numbers.append(number)
        try:
            return calculate(*numbers)
        except ZeroDivisionError:
            return Problem.DIVISION
        except (ValueError, OverflowError):
            return Problem.NUMBER

    FUNCTIONS[name] = Function(call, least, most)


def _round(number: float, digits: float = 0.0) -> float:
    """Half away from zero, as people expect of a sheet, not half to even."""
    scale = 10.0 ** int(digits)
    return math.copysign(math.floor(abs(number) * scale + 0.5) / scale, number)


_numeric("ABS", abs, 1, 1)
_numeric("INT", lambda number: float(math.floor(number)), 1, 1)
_numeric("ROUND", _round, 1, 2)
_numeric("SQRT", math.sqrt, 1, 1)
_numeric("MOD", lambda number, divisor: number - divisor * math.floor(number / divisor), 2, 2)
_numeric("POWER", lambda base, exponent: float(base**exponent) if base >= 0 else math.pow(base, exponent), 2, 2)
_numeric("LN", math.log, 1, 1)
_numeric("LOG10", math.log10, 1, 1)
_numeric("EXP", math.exp, 1, 1)
_numeric("PI", lambda: math.pi, 0, 0)


def _textual(name: str, calculate: Callable[[str], Value]) -> None:
    def call(argument: Argument) -> Value:
        value = _single(argument)
        return value if isinstance(value, Problem) else calculate(to_text(value))

    FUNCTIONS[name] = Function(call, 1, 1)


_textual("LEN", lambda text: float(len(text)))
_textual("UPPER", str.upper)
_textual("LOWER", str.lower)
_textual("TRIM", lambda text: " ".join(text.split()))
_textual("VALUE", lambda text: to_number(text))


@_function("CONCAT", 1, None)
def _concat(*arguments: Argument) -> Value:
    values = list(_flat(arguments))
    problem = next((value for value in values if isinstance(value, Problem)), None)
    return problem if problem is not None else "".join(map(to_text, values))


@_function("LEFT", 1, 2)
def _left(text: Argument, count: Argument = 1.0) -> Value:
    return _cut(text, count, lambda whole, length: whole[:length])


@_function("RIGHT", 1, 2)
def _right(text: Argument, count: Argument = 1.0) -> Value:
    return _cut(text, count, lambda whole, length: whole[max(0, len(whole) - length) :])


def _cut(text: Argument, count: Argument, cut: Callable[[str, int], str]) -> Value:
    value, length = _single(text), to_number(_single(count))
    if isinstance(value, Problem):
        return value
    if isinstance(length, Problem):
        return length
    return Problem.VALUE if length < 0 else cut(to_text(value), int(length))


@_function("ISERROR", 1, 1)
def _iserror(argument: Argument) -> Value:
    return isinstance(_single(argument), Problem)
