"""Sheets from and to CSV."""

from __future__ import annotations

import csv
import io
from typing import TextIO

from .address import Cell, Range
from .errors import GridError
from .sheet import Sheet


def read(source: TextIO) -> Sheet:
    """A sheet from CSV: what stands in a field is typed into its cell.

    Raises GridError with the line's number if it is not CSV.
    """
    cells: dict[str, str] = {}
    reader = csv.reader(source, strict=True)
    try:
        for row, fields in enumerate(reader):
            for column, text in enumerate(fields):
                if text:
                    cells[str(Cell(row, column))] = text
    except csv.Error as error:
        raise GridError(f"line {reader.line_num}: {error}") from error
    return Sheet(cells)


def write(sheet: Sheet, target: TextIO, *, formulas: bool = False) -> None:
    """A sheet as CSV: the values that are shown, or what was typed (`formulas`)."""
    writer = csv.writer(target, lineterminator="\n")
    typed = sheet.typed
    extent = sheet.extent
    if extent is None:
        return
    for row in range(extent.last.row + 1):
        names = [str(cell) for cell in Range(Cell(row, 0), Cell(row, extent.last.column))]
        writer.writerow([typed.get(name, "") if formulas else sheet.shown(name) for name in names])


def dumps(sheet: Sheet, *, formulas: bool = False) -> str:
    """As `write`, into a string.

    >>> dumps(Sheet({"A1": "2", "B2": "=A1+1"}))
    '2,\\n,3\\n'
    """
    target = io.StringIO()
    write(sheet, target, formulas=formulas)
    return target.getvalue()


def loads(text: str) -> Sheet:
    """As `read`, from a string."""
    return read(io.StringIO(text, newline=""))
