"""What gridcalc raises."""

from __future__ import annotations


class GridError(Exception):
    """The root of all errors here."""


class FormulaError(GridError):
    """A formula cannot be read. `position` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position


class AddressError(GridError):
    """Not the name of a cell or a range."""


class StoreConflict(GridError):
    """Somebody else saved a newer version in the meantime."""


class UnknownSheet(GridError):
    """The store has no such sheet, or no such version of it."""
