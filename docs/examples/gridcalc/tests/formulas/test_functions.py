"""The functions, through formulas."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from gridcalc import Problem, Sheet, Value
from gridcalc.functions import FUNCTIONS, apply

CELLS = {
    "A1": "3",
    "A2": "1",
    "A3": "2",
    "A4": "text",
    "A5": "TRUE",
    "A7": "4",
    "B1": "apple",
    "B2": "Banana",
    "B3": "cherry",
    "B4": "avocado",
    "B7": "apple",
    "C1": "=1/0",
}


def worth(formula: str) -> Value:
    """The value of a formula beside CELLS."""
    return Sheet({**CELLS, "Z1": formula})["Z1"]


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("=SUM(A1:A7)", 10.0),
        ("=SUM(A1:A3,10,A7)", 20.0),
        ('=SUM("5",1)', 6.0),
        ("=SUM(A8:A9)", 0.0),
        ("=PRODUCT(A1:A7)", 24.0),
        ("=MIN(A1:A7)", 1.0),
        ("=MAX(A1:A7,3)", 4.0),
        ("=AVERAGE(A1:A7)", 2.5),
        ("=MEDIAN(A1:A3)", 2.0),
        ("=MEDIAN(A1:A7)", 2.5),
        ("=COUNT(A1:B7)", 4.0),
        ("=COUNTA(A1:B7)", 11.0),
        ("=VAR(2,4,4,4,5,5,7,9)", 32 / 7),
    ],
)
def test_over_many_values(formula: str, value: Value) -> None:
    """In a range only numbers count; given alone, a text is read as a number."""
    assert worth(formula) == pytest.approx(value)


@pytest.mark.parametrize(
    ("criterion", "count"),
    [
        ("2", 1.0),
        ('">1"', 3.0),
        ('">=2"', 3.0),
        ('"<2"', 1.0),
        ('"<>2"', 3.0),
        ('"text"', 1.0),
        ('"TEXT"', 1.0),
        ('"t*"', 1.0),
        ("TRUE", 1.0),
        ('">z"', 0.0),
    ],
)
def test_countif(criterion: str, count: float) -> None:
    """A plain value, a comparison or a pattern; numbers compare with numbers only."""
    assert worth(f"=COUNTIF(A1:A7,{criterion})") == count


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ('=SUMIF(B1:B7,"a*",A1:A7)', 7.0),
        ('=SUMIF(B1:B7,"APPLE",A1:A7)', 7.0),
        ('=SUMIF(B1:B7,"<>apple",A1:A7)', 3.0),
        ('=SUMIF(A1:A7,">2")', 7.0),
        ('=SUMIF(B1:B7,"nothing",A1:A7)', 0.0),
    ],
)
def test_sumif(formula: str, value: float) -> None:
    """What stands beside a match is added, or the match itself."""
    assert worth(formula) == value


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("=ROUND(2.5)", 3.0),
        ("=ROUND(-2.5)", -3.0),
        ("=ROUND(0.125,2)", 0.13),
        ("=ROUND(1234,-2)", 1200.0),
        ("=INT(-1.5)", -2.0),
        ("=ABS(-3)", 3.0),
        ("=SQRT(16)", 4.0),
        ("=MOD(7,3)", 1.0),
        ("=MOD(-7,3)", 2.0),
        ("=MOD(7,-3)", -2.0),
        ("=POWER(2,-1)", 0.5),
        ("=POWER(-2,3)", -8.0),
        ("=LN(EXP(2))", 2.0),
        ("=LOG10(1000)", 3.0),
        ("=PI()", math.pi),
    ],
)
def test_of_numbers(formula: str, value: float) -> None:
    """Halves are rounded away from zero; MOD has the sign of the divisor."""
    assert worth(formula) == pytest.approx(value)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ('=LEN("漢字")', 2.0),
        ("=LEN(1.50)", 3.0),
        ('=UPPER("straße")', "STRASSE"),
        ("=LOWER(B2)", "banana"),
        ('=TRIM("  a   b ")', "a b"),
        ('=VALUE("12%")', 0.12),
        ("=CONCAT(B1:B3,1)", "appleBananacherry1"),
        ("=LEFT(B1)", "a"),
        ("=LEFT(B1,3)", "app"),
        ("=RIGHT(B1,3)", "ple"),
        ("=RIGHT(B1,0)", ""),
        ("=RIGHT(B1,99)", "apple"),
    ],
)
def test_of_texts(formula: str, value: Value) -> None:
    """Characters are counted, not bytes."""
    assert worth(formula) == value


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("=AND(TRUE,1,A5)", True),
        ("=AND(TRUE,0)", False),
        ("=OR(FALSE,A9,1)", True),
        ("=OR(FALSE,A9)", False),
        ("=NOT(A9)", True),
        ("=ISERROR(C1)", True),
        ("=ISERROR(A1)", False),
    ],
)
def test_of_conditions(formula: str, value: bool) -> None:
    """An empty cell is false."""
    assert worth(formula) is value


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("=AVERAGE(A8:A9)", Problem.DIVISION),
        ("=VAR(1)", Problem.DIVISION),
        ("=MEDIAN(A8:A9)", Problem.NUMBER),
        ("=MOD(1,0)", Problem.DIVISION),
        ("=SQRT(-1)", Problem.NUMBER),
        ("=LN(0)", Problem.NUMBER),
        ("=EXP(1000)", Problem.NUMBER),
        ("=POWER(0,-1)", Problem.DIVISION),
        ("=LEFT(B1,-1)", Problem.VALUE),
        ('=SUM("apple")', Problem.VALUE),
        ("=ABS(A1:A2)", Problem.VALUE),
        ("=AND(B1)", Problem.VALUE),
        ("=PI(1)", Problem.VALUE),
        ("=SUM()", Problem.VALUE),
        ("=SUM(A1,C1)", Problem.DIVISION),
        ("=SUM(C1:C2)", Problem.DIVISION),
        ("=CONCAT(B1,C1)", Problem.DIVISION),
    ],
)
def test_problems(formula: str, problem: Problem) -> None:
    """What a function cannot use is a problem, and a problem among its arguments comes through."""
    assert worth(formula) is problem


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_bounds_its_arguments(name: str) -> None:
    """Too few arguments, or too many, is `#VALUE!` and no exception."""
    function = FUNCTIONS[name]
    if function.least:
        assert apply(name, []) is Problem.VALUE
    if function.most is not None:
        assert apply(name, [1.0] * (function.most + 1)) is Problem.VALUE


@pytest.mark.parametrize("seed", range(10))
def test_statistics_agree_with_the_standard_library(seed: int) -> None:
    """Mean, median and variance of 4,000 numbers are what `statistics` says."""
    numbers = random.Random(seed)
    values = [numbers.gauss(100, 15) for _ in range(4000)]
    argument: list[Value] = list(values)
    assert apply("AVERAGE", [argument]) == pytest.approx(statistics.fmean(values))
    assert apply("MEDIAN", [argument]) == pytest.approx(statistics.median(values))
    assert apply("VAR", [argument]) == pytest.approx(statistics.variance(values))
