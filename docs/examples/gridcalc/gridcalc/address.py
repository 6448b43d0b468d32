"""Names of cells and ranges, in the A1 notation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import AddressError

_CELL = re.compile(r"(\$?)([A-Za-z]{1,3})(\$?)([1-9][0-9]{0,6})")


def column_name(index: int) -> str:
    """The letters of a column, counted from 0.

    >>> [column_name(index) for index in (0, 25, 26, 701, 702)]
    ['A', 'Z', 'AA', 'ZZ', 'AAA']
    """
    if index < 0:
        raise AddressError(f"no column {index}")
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def column_index(name: str) -> int:
    """The number of a column, counted from 0.

    >>> column_index("A"), column_index("zz")
    (0, 701)
    """
    if not (name.isascii() and name.isalpha()):
        raise AddressError(f"not a column: {name!r}")
    index = 0
    for letter in name.upper():
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


@dataclass(frozen=True, order=True)
class Cell:
    """A cell; row and column are counted from 0.

    >>> Cell.parse("B3"), str(Cell(2, 1))
    (Cell(row=2, column=1), 'B3')
    """

    row: int
    column: int

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read `B3`. Raises AddressError."""
        match = _CELL.fullmatch(text)
        if match is None:
            raise AddressError(f"not a cell: {text!r}")
        return cls(int(match[4]) - 1, column_index(match[2]))

    def __str__(self) -> str:
        return f"{column_name(self.column)}{self.row + 1}"

    def moved(self, rows: int, columns: int) -> Cell:
        """The cell so far away. Raises AddressError beyond the sheet's edge."""
        if self.row + rows < 0 or self.column + columns < 0:
            raise AddressError(f"{self} has no neighbour {rows} rows and {columns} columns away")
        return Cell(self.row + rows, self.column + columns)


@dataclass(frozen=True, order=True)
class Range:
    """A rectangle of cells, both corners included.

    >>> r = Range.parse("B3:A1")
    >>> str(r), len(r), Cell.parse("B2") in r
    ('A1:B3', 6, True)
    """

    first: Cell
    last: Cell

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read `A1:B3`, corners in any order, or one cell. Raises AddressError."""
        corners = [Cell.parse(part) for part in text.split(":")]
        if len(corners) > 2:
            raise AddressError(f"not a range: {text!r}")
        return cls.spanning(corners[0], corners[-1])

    @classmethod
    def spanning(cls, one: Cell, other: Cell) -> Range:
        """The smallest range that holds both."""
        rows = sorted((one.row, other.row))
        columns = sorted((one.column, other.column))
        return cls(Cell(rows[0], columns[0]), Cell(rows[1], columns[1]))

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"

    def __len__(self) -> int:
        return (self.last.row - self.first.row + 1) * (self.last.column - self.first.column + 1)

    def __contains__(self, cell: Cell) -> bool:
        return self.first.row <= cell.row <= self.last.row and self.first.column <= cell.column <= self.last.column

    def __iter__(self) -> Iterator[Cell]:
        for row in range(self.first.row, self.last.row + 1):
            for column in range(self.first.column, self.last.column + 1):
                yield Cell(row, column)

    def intersection(self, other: Range) -> Range | None:
        """What both share, or None.

        >>> str(Range.parse("A1:C3").intersection(Range.parse("B2:D9")))
        'B2:C3'
        """
        top, bottom = max(self.first.row, other.first.row), min(self.last.row, other.last.row)
        left, right = max(self.first.column, other.first.column), min(self.last.column, other.last.column)
        if top > bottom or left > right:
            return None
        return Range(Cell(top, left), Cell(bottom, right))
