"""What differs between two sheets, and how two edits of one sheet become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .address import Cell
from .sheet import Sheet


@dataclass(frozen=True)
class Change:
    """A cell that was typed into; an empty text is an empty cell."""

    cell: str
    old: str
    new: str

    def __str__(self) -> str:
        if not self.old:
            return f"+ {self.cell}: {self.new}"
        if not self.new:
            return f"- {self.cell}: {self.old}"
        return f"~ {self.cell}: {self.old} -> {self.new}"


@dataclass(frozen=True)
class Conflict:
    """A cell that both sides changed, and not in the same way."""

    cell: str
    base: str
    ours: str
    theirs: str


def diff(old: Sheet, new: Sheet) -> list[Change]:
    """The changes that lead from one to the other, row by row.

    >>> [str(change) for change in diff(Sheet({"A1": "1", "A2": "2"}), Sheet({"A1": "1", "A2": "3", "B1": "x"}))]
    ['+ B1: x', '~ A2: 2 -> 3']
    """
    before, after = old.typed, new.typed
    return [
        Change(name, before.get(name, ""), after.get(name, ""))
        for name in _names(before, after)
        if before.get(name) != after.get(name)
    ]


def patch(sheet: Sheet, changes: list[Change]) -> Sheet:
    """The sheet after the changes; the given one stays as it is."""
    return Sheet({**sheet.typed, **{change.cell: change.new for change in changes}})


def merge(base: Sheet, ours: Sheet, theirs: Sheet) -> tuple[Sheet, list[Conflict]]:
    """Both edits in one sheet. Where they conflict, ours stays, and the conflict is told."""
    before, left, right = base.typed, ours.typed, theirs.typed
    merged: dict[str, str] = {}
    conflicts: list[Conflict] = []
    for name in _names(before, left, right):
        old, mine, other = before.get(name, ""), left.get(name, ""), right.get(name, "")
        merged[name] = other if mine == old else mine
        if mine != other and old not in (mine, other):
            conflicts.append(Conflict(name, old, mine, other))
    return Sheet(merged), conflicts


def _names(*sides: dict[str, str]) -> Iterator[str]:
    cells = {Cell.parse(name) for side in sides for name in side}
    return map(str, sorted(cells))
