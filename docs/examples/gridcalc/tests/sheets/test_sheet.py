"""Recalculation: right, and no more than needed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from gridcalc import Problem, Sheet
from gridcalc.values import to_text

RandomSheet = Callable[[int], Sheet]


def test_a_change_reaches_what_depends_on_it() -> None:
    """Through several formulas, in any order of typing."""
    sheet = Sheet({"C1": "=B1+1", "B1": "=A1*2", "A1": "5"})
    assert sheet["C1"] == 11.0
    sheet["A1"] = "6"
    assert sheet["C1"] == 13.0


def test_only_what_is_affected_is_evaluated(ledger: Sheet) -> None:
    """A price in the last row is read by its amount, its running total and the sums: four formulas."""
    ledger.evaluations = 0
    ledger["A120"] = "1"
    assert ledger.evaluations == 4


def test_many_changes_are_one_recalculation(ledger: Sheet) -> None:
    """A formula that reads all changed cells is evaluated once."""
    ledger.evaluations = 0
    ledger.update({f"A{row}": "1" for row in range(1, 121)})
    assert ledger.evaluations == 242


def test_clearing_a_cell(ledger: Sheet) -> None:
    """What is cleared is empty, and those that read it know."""
    sheet = Sheet({"A1": "1", "B1": "=A1+1"})
    del sheet["A1"]
    assert (sheet["A1"], sheet["B1"], len(sheet)) == (None, 1.0, 1)


def test_a_formula_can_become_a_literal_and_back() -> None:
    """Old dependencies are forgotten."""
    sheet = Sheet({"A1": "1", "B1": "=A1"})
    sheet["B1"] = "7"
    sheet.evaluations = 0
    sheet["A1"] = "2"
    assert (sheet["B1"], sheet.evaluations) == (7.0, 0)
    sheet["B1"] = "=A1"
    assert sheet["B1"] == 2.0


@pytest.mark.parametrize(
    ("cells", "cycle"),
    [
        ({"A1": "=A1"}, ["A1"]),
        ({"A1": "=B1", "B1": "=A1"}, ["A1", "B1"]),
        ({"A1": "=B1", "B1": "=C1+1", "C1": "=A1", "D1": "=A1"}, ["A1", "B1", "C1"]),
        ({"A1": "=SUM(A1:A3)"}, ["A1"]),
        ({"B2": "=IF(FALSE,B2,1)"}, ["B2"]),
    ],
)
def test_cycles_are_told(cells: dict[str, str], cycle: list[str]) -> None:
    """Cells in a cycle, and cells made from one, are `#CYCLE!`; the cycle is named in order."""
    sheet = Sheet(cells)
    assert {sheet[name] for name in cells} == {Problem.CYCLE}
    assert sheet.cycles() == cycle


def test_a_broken_cycle_heals() -> None:
    """As soon as one of its cells changes, all have values again."""
    sheet = Sheet({"A1": "=B1+1", "B1": "=A1+1", "C1": "=B1*2"})
    sheet["A1"] = "1"
    assert (sheet["B1"], sheet["C1"], sheet.cycles()) == (2.0, 4.0, [])


@pytest.mark.parametrize(
    ("source", "target", "typed"),
    [
        ("B1", "B1:B3", {"B1": "=A1*$D$1", "B2": "=A2*$D$1", "B3": "=A3*$D$1"}),
        ("B1", "C1:C1", {"C1": "=B1*$D$1"}),
        ("A1", "A2:A3", {"A2": "1", "A3": "1"}),
        ("E5", "A1:A1", {"A1": ""}),
    ],
)
def test_fill(source: str, target: str, typed: dict[str, str]) -> None:
    """Copying down moves `A1` and holds `$D$1`; copying an empty cell clears."""
    sheet = Sheet({"A1": "1", "B1": "=A1*$D$1", "D1": "3"})
    sheet.fill(source, target)
    assert {name: sheet.typed.get(name, "") for name in typed} == typed


def test_fill_beyond_the_edge() -> None:
    """A reference that leaves the sheet is `#REF!`... and stays so when typed again."""
    sheet = Sheet({"A2": "=A1+1"})
    sheet.fill("A2", "B1:B1")
    assert sheet.typed["B1"] == "=#REF!+1"
    assert isinstance(sheet["B1"], Problem)


@pytest.mark.parametrize("seed", range(12))
def test_incremental_is_the_same_as_anew(seed: int, random_sheet: RandomSheet) -> None:
    """After 40 random edits, each cell is worth what it is worth in a sheet made from scratch."""
    numbers = random.Random(seed)
    sheet = random_sheet(60)
    for _ in range(40):
        row, column = numbers.randint(1, 60), numbers.choice("ABCDE")
        above = f"=A{row - 1}+{column}{max(1, row - 3)}" if row > 3 else str(numbers.randint(-9, 9))
        sheet[f"{column}{row}"] = numbers.choice([above, str(numbers.randint(-9, 9)), ""])
    again = Sheet(sheet.typed)
    assert {name: to_text(sheet[name]) for name in sheet.typed} == {name: to_text(again[name]) for name in again.typed}


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_order_of_typing_does_not_matter(order: str, ledger_cells: dict[str, str], numbers: random.Random) -> None:
    """The same cells typed one by one in any order give the same values."""
    names = list(ledger_cells)[:160]
    if order == "backwards":
        names.reverse()
    elif order == "shuffled":
        numbers.shuffle(names)
    one_by_one = Sheet()
    for name in names:
        one_by_one[name] = ledger_cells[name]
    at_once = Sheet({name: ledger_cells[name] for name in names})
    assert all(one_by_one[name] == at_once[name] for name in names)


def test_the_ledger_adds_up(ledger: Sheet) -> None:
    """Its own check formula agrees: the running total and the sum are the same."""
    assert ledger["D121"] == pytest.approx(ledger["C121"])


@pytest.mark.parametrize("length", [10, 100, 1000, 3000])
def test_long_chains_do_not_overflow(length: int) -> None:
    """A chain of formulas of any length is recalculated without recursion."""
    cells = {"A1": "1"} | {f"A{row}": f"=A{row - 1}+1" for row in range(2, length + 1)}
    assert Sheet(cells)[f"A{length}"] == float(length)


def test_equality_is_of_what_was_typed() -> None:
    """Two sheets are equal if the same was typed, in whatever order."""
    assert Sheet({"A1": "1", "B1": "2"}) == Sheet({"B1": "2", "A1": "1"})
    assert Sheet({"A1": "1"}) != Sheet({"A1": "=1"})
    assert Sheet({}) != {}
