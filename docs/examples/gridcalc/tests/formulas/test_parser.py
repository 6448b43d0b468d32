"""From text to a tree and back."""

from __future__ import annotations

import random

import pytest
from gridcalc import Cell, FormulaError
from gridcalc.parser import MAX_DEPTH, parse
from gridcalc.syntax import (
    PRECEDENCE,
    Area,
    Binary,
    Broken,
    Call,
    Literal,
    Node,
    Reference,
    Unary,
    moved,
    references,
    unparse,
)


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("1+2*3", "1+(2*3)"),
        ("1*2+3", "(1*2)+3"),
        ("1-2-3", "(1-2)-3"),
        ("8/4/2", "(8/4)/2"),
        ("2^3^2", "2^(3^2)"),
        ("-2^2", "-(2^2)"),
        ("2^-1", "2^(-1)"),
        ("-2*3", "(-2)*3"),
        ("2*-3+1", "(2*(-3))+1"),
        ("1+2&3+4", "(1+2)&(3+4)"),
        ('"a"&"b"="ab"', '("a"&"b")="ab"'),
        ("1<2=TRUE", "(1<2)=TRUE"),
        ("50%^2", "(50%)^2"),
        ("-50%", "-(50%)"),
        ("+5", "5"),
        ("--5", "-(-5)"),
    ],
)
def test_precedence(text: str, grouped: str) -> None:
    """A formula is the same with the parentheses that its operators imply."""
    assert parse(text) == parse(grouped)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.5",
        "1e+22",
        '"say ""hi"""',
        "TRUE",
        "A1",
        "$A$1",
        "A$1",
        "$A1",
        "A1:B2",
        "$A$1:B$2",
        "SUM(A1:B2,3)",
        "PI()",
        "-A1",
        "(1+2)*3",
        "1-(2-3)",
        "(2^3)^2",
        "2^3^2",
        "(-2)^2",
        "(1+2)%",
        "A1<=B1",
        'IF(A1>0,"yes",IF(A1=0,"none","no"))',
    ],
)
def test_written_as_it_was_read(text: str) -> None:
    """A formula without superfluous parentheses comes back as it was."""
    assert unparse(parse(text)) == text


def random_tree(numbers: random.Random, depth: int) -> Node:
    """A tree of at most so many levels, with every kind of node."""
    if depth == 0 or numbers.random() < 0.1:
        leaf = numbers.randrange(4)
        if leaf == 0:
            return Literal(float(numbers.randint(0, 999)))
        if leaf == 1:
            return Literal(numbers.choice(["", "x", 'a"b', "é"]))
        cell = Cell(numbers.randint(0, 99), numbers.randint(0, 99))
        return Reference(cell, numbers.random() < 0.5, numbers.random() < 0.5)
    kind = numbers.randrange(4)
    if kind == 0:
        return Unary(numbers.choice("-%"), random_tree(numbers, depth - 1))
    if kind == 1:
        corners = [Reference(Cell(numbers.randint(0, 9), numbers.randint(0, 9))) for _ in range(2)]
        return Call("SUM", (Area(corners[0], corners[1]), random_tree(numbers, depth - 1)))
    operator = numbers.choice(sorted(PRECEDENCE))
    return Binary(operator, random_tree(numbers, depth - 1), random_tree(numbers, depth - 1))


@pytest.mark.parametrize("seed", range(25))
def test_every_tree_round_trips(seed: int) -> None:
    """Text made from a tree is read as the same tree."""
    numbers = random.Random(seed)
    for _ in range(120):
        tree = random_tree(numbers, depth=6)
        assert parse(unparse(tree)) == tree


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("1+", 2),
        ("(1", 2),
        ("1)", 1),
        ("1 2", 2),
        ("SUM(1,", 6),
        ("SUM(1 2)", 6),
        ("SUM(,1)", 4),
        ("A1:", 3),
        ("A1:2", 3),
        ("total", 0),
        ("*2", 0),
        ("A1:XFD9999999", 0),
    ],
)
def test_errors_tell_where(text: str, position: int) -> None:
    """What cannot be read is an error that points at the character."""
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.position == position


@pytest.mark.parametrize("opening", ["(", "-", "SUM(", "1^"])
def test_depth_is_bounded(opening: str) -> None:
    """A formula nested beyond the limit is refused, and does not overflow the stack."""
    with pytest.raises(FormulaError, match="nested too deeply"):
        parse(opening * (MAX_DEPTH + 1) + "1")


def test_references() -> None:
    """Every range that a formula reads is found, wherever it stands."""
    tree = parse("IF(A1>0,SUM(B1:B9),-C1%)&D4")
    assert [str(area) for area in references(tree)] == ["A1:A1", "B1:B9", "C1:C1", "D4:D4"]


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("A1", "C2"),
        ("$A1", "$A2"),
        ("A$1", "C$1"),
        ("$A$1", "$A$1"),
        ("SUM(A1:$B$2)*2", "SUM(C2:$B$2)*2"),
        ('"A1"', '"A1"'),
    ],
)
def test_copying_moves_relative_references(text: str, copied: str) -> None:
    """One row down and two columns right, `$` holds what follows it."""
    assert unparse(moved(parse(text), 1, 2)) == copied


@pytest.mark.parametrize("text", ["A1", "B1:A5", "1+A1"])
def test_moving_off_the_sheet(text: str) -> None:
    """A reference beyond the edge is broken, and says so."""
    tree = moved(parse(text), -1, 0)
    assert "#REF!" in unparse(tree)
    assert Broken() in (tree, getattr(tree, "right", None))
