"""Cells and ranges in the A1 notation."""

from __future__ import annotations

import pytest
from gridcalc import Cell, Range
from gridcalc.address import column_index, column_name
from gridcalc.errors import AddressError


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "A"), (1, "B"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA"), (18277, "ZZZ")],
)
def test_column_names_count_in_letters(index: int, name: str) -> None:
    """A column's number and its letters stand for each other."""
    assert column_name(index) == name
    assert column_index(name) == index


@pytest.mark.parametrize("start", range(0, 18000, 3000))
def test_column_names_round_trip(start: int) -> None:
    """Every name of a block of 3,000 columns leads back to its number."""
    assert [column_index(column_name(index)) for index in range(start, start + 3000)] == list(
        range(start, start + 3000)
    )


@pytest.mark.parametrize("name", ["", "1", "A1", "Ä", "A B", "$A"])
def test_what_is_no_column(name: str) -> None:
    """Only ASCII letters name a column."""
    with pytest.raises(AddressError):
        column_index(name)


@pytest.mark.parametrize(
    ("text", "row", "column"), [("A1", 0, 0), ("b12", 11, 1), ("$C$7", 6, 2), ("ZZ1000", 999, 701), ("D$4", 3, 3)]
)
def test_cells_are_read(text: str, row: int, column: int) -> None:
    """Letters in any case, with or without `$`."""
    assert Cell.parse(text) == Cell(row, column)


@pytest.mark.parametrize("text", ["", "A", "1", "A0", "A-1", "1A", "A1B", "ABCD1", "A12345678", "A 1", "A1:B2"])
def test_what_is_no_cell(text: str) -> None:
    """Rows begin at 1; nothing may stand around the name."""
    with pytest.raises(AddressError, match="not a cell"):
        Cell.parse(text)


@pytest.mark.parametrize("text", ["B3:A1", "A3:B1", "B1:A3", "A1:B3"])
def test_corners_in_any_order(text: str) -> None:
    """A range is the same whichever corners name it."""
    assert str(Range.parse(text)) == "A1:B3"


def test_range_walks_row_by_row() -> None:
    """Cells come in reading order."""
    assert [str(cell) for cell in Range.parse("B2:C3")] == ["B2", "C2", "B3", "C3"]


def test_one_cell_is_a_range() -> None:
    """A cell alone is a range of one."""
    assert len(Range.parse("Q7")) == 1
    assert Cell.parse("Q7") in Range.parse("Q7")


@pytest.mark.parametrize("text", ["A1:B2:C3", ":", "A1:", ":B2"])
def test_what_is_no_range(text: str) -> None:
    """Two corners at most, both of them cells."""
    with pytest.raises(AddressError):
        Range.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("A1:C3", "B2:D9", "B2:C3"),
        ("A1:C3", "C3:D4", "C3:C3"),
        ("A1:C3", "A1:C3", "A1:C3"),
        ("A1:Z9", "C3:D4", "C3:D4"),
        ("A1:B2", "C3:D4", None),
        ("A1:B9", "C1:D9", None),
    ],
)
def test_intersection(one: str, other: str, shared: str | None) -> None:
    """What two ranges share, in either order, holds exactly the cells that are in both."""
    a, b = Range.parse(one), Range.parse(other)
    assert a.intersection(b) == b.intersection(a) == (Range.parse(shared) if shared else None)
    assert set(a) & set(b) == set(Range.parse(shared) if shared else ())


def test_neighbours_end_at_the_edge() -> None:
    """There is nothing above row 1 or left of column A."""
    assert Cell.parse("B2").moved(-1, -1) == Cell.parse("A1")
    with pytest.raises(AddressError, match="no neighbour"):
        Cell.parse("A1").moved(0, -1)
