"""Sheets with all their versions, in one SQLite file that many processes may use at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreConflict, UnknownSheet
from .sheet import Sheet

_SCHEMA = """
CREATE TABLE IF NOT EXISTS version (
    sheet TEXT NOT NULL,
    number INTEGER NOT NULL,
    author TEXT NOT NULL,
    cells TEXT NOT NULL,
    PRIMARY KEY (sheet, number)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Version:
    """An entry of a sheet's history; numbers count from 1."""

    number: int
    author: str


class Store:
    """Opens or makes the file. `patience` is how many seconds a call waits for another process's turn."""

    def __init__(self, path: Path, patience: float = 30.0) -> None:
        self._connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
        self._connection.execute(_SCHEMA)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    def save(self, name: str, sheet: Sheet, *, author: str = "", expected: int | None = None) -> int:
        """Store the sheet as a new version and return its number.

        Raises StoreConflict if `expected` is given and is not the newest version's number (0 for none).
        """
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                number = self._next(cursor, name, expected)
                row = (name, number, author, json.dumps(sheet.typed))
                cursor.execute("INSERT INTO version VALUES (?, ?, ?, ?)", row)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        return number

    def load(self, name: str, number: int | None = None) -> tuple[Sheet, int]:
        """A version, by default the newest, and its number. Raises UnknownSheet."""
        query = "SELECT cells, number FROM version WHERE sheet = ?1 AND ?2 IN (number, 0) ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (name, number or 0)).fetchone()
        if row is None:
            raise UnknownSheet(name if number is None else f"{name} has no version {number}")
        return Sheet(json.loads(row[0])), int(row[1])

    def history(self, name: str) -> list[Version]:
        """All versions, oldest first."""
        query = "SELECT number, author FROM version WHERE sheet = ? ORDER BY number"
        return [Version(number, author) for number, author in self._connection.execute(query, (name,))]

    def names(self) -> list[str]:
        """All sheets."""
        return [name for (name,) in self._connection.execute("SELECT DISTINCT sheet FROM version ORDER BY sheet")]

    def edit(self, name: str, change: Callable[[Sheet], None], *, author: str = "") -> int:
        """Load, change and save, again and again until nobody came in between; returns the new number."""
        while True:
            try:
                sheet, number = self.load(name)
            except UnknownSheet:
                sheet, number = Sheet(), 0
            change(sheet)
            try:
                return self.save(name, sheet, author=author, expected=number)
            except StoreConflict:
                continue

    @staticmethod
    def _next(cursor: sqlite3.Cursor, name: str, expected: int | None) -> int:
        row = cursor.execute("SELECT coalesce(max(number), 0) FROM version WHERE sheet = ?", (name,)).fetchone()
        newest = int(row[0])
        if expected is not None and expected != newest:
            raise StoreConflict(f"{name!r} is at version {newest}, not {expected}")
        return newest + 1
