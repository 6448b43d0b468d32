"""Comparing, patching and merging."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from gridcalc import Sheet
from gridcalc.diff import Conflict, diff, merge, patch


def edited(sheet: Sheet, numbers: random.Random, count: int) -> Sheet:
    """A copy with random cells changed, cleared and added."""
    cells = sheet.typed
    for _ in range(count):
        name = f"{numbers.choice('ABCDEF')}{numbers.randint(1, 90)}"
        cells[name] = numbers.choice(["", "x", str(numbers.randint(0, 9)), "=A1+1"])
    return Sheet(cells)


@pytest.mark.parametrize("seed", range(8))
def test_a_patch_leads_to_the_other(seed: int, random_sheet: Callable[[int], Sheet]) -> None:
    """What differs, applied to one, gives the other; nothing differs then."""
    numbers = random.Random(seed)
    old = random_sheet(80)
    new = edited(old, numbers, 60)
    assert patch(old, diff(old, new)) == new
    assert diff(new, patch(old, diff(old, new))) == []
    assert patch(new, diff(new, old)) == old


@pytest.mark.parametrize("seed", range(8))
def test_merging_is_fair(seed: int, random_sheet: Callable[[int], Sheet]) -> None:
    """Both orders conflict in the same cells, and agree on all others."""
    numbers = random.Random(seed)
    base = random_sheet(60)
    ours, theirs = edited(base, numbers, 30), edited(base, numbers, 30)
    one, conflicts = merge(base, ours, theirs)
    other, mirrored = merge(base, theirs, ours)
    assert [(each.cell, each.ours, each.theirs) for each in conflicts] == [
        (each.cell, each.theirs, each.ours) for each in mirrored
    ]
    assert {change.cell for change in diff(one, other)} == {conflict.cell for conflict in conflicts}


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("1", "1", "2", "2"),
        ("1", "2", "1", "2"),
        ("1", "2", "2", "2"),
        ("1", "1", "", ""),
        ("", "", "3", "3"),
        ("1", "", "", ""),
    ],
)
def test_one_cell_without_conflict(base: str, ours: str, theirs: str, merged: str) -> None:
    """One side's change is taken; the same change on both sides is one."""
    result, conflicts = merge(Sheet({"A1": base}), Sheet({"A1": ours}), Sheet({"A1": theirs}))
    assert result.typed.get("A1", "") == merged
    assert conflicts == []


@pytest.mark.parametrize(("ours", "theirs"), [("2", "3"), ("", "3"), ("2", "")])
def test_one_cell_with_conflict(ours: str, theirs: str) -> None:
    """Ours stays, and the conflict tells all three."""
    result, conflicts = merge(Sheet({"A1": "1"}), Sheet({"A1": ours}), Sheet({"A1": theirs}))
    assert result.typed.get("A1", "") == ours
    assert conflicts == [Conflict("A1", "1", ours, theirs)]
