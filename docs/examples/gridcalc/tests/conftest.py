"""What all tests share: a large sheet, made once a session, and deterministic random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from gridcalc import Sheet

ROWS = 120


@pytest.fixture(scope="session")
def ledger_cells() -> dict[str, str]:
    """A ledger of 120 rows: price, quantity, amount, running total; below it sums over the whole columns."""
    numbers = random.Random(20)
    cells: dict[str, str] = {}
    for row in range(1, ROWS + 1):
        cells[f"A{row}"] = f"{numbers.randint(100, 9999) / 100}"
        cells[f"B{row}"] = str(numbers.randint(1, 20))
        cells[f"C{row}"] = f"=ROUND(A{row}*B{row},2)"
        cells[f"D{row}"] = f"=C{row}" if row == 1 else f"=D{row - 1}+C{row}"
    cells[f"C{ROWS + 1}"] = f"=SUM(C1:C{ROWS})"
    cells[f"D{ROWS + 1}"] = f"=IF(ABS(C{ROWS + 1}-D{ROWS})<0.001,MAX(D1:D{ROWS}),1/0)"
    return cells


@pytest.fixture
def ledger(ledger_cells: dict[str, str]) -> Sheet:
    """A ledger of this test's own."""
    return Sheet(ledger_cells)


@pytest.fixture
def numbers(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that depend on the test's name only."""
    return random.Random(request.node.name)


@pytest.fixture
def random_sheet(numbers: random.Random) -> Callable[[int], Sheet]:
    """Makes sheets of so many rows and five columns without cycles: each formula reads rows above its own."""

    def make(rows: int) -> Sheet:
        cells: dict[str, str] = {}
        for row in range(1, rows + 1):
            for column in "ABCDE":
                if row == 1 or numbers.random() < 0.3:
                    cells[f"{column}{row}"] = str(numbers.randint(-50, 50))
                    continue
                one, other = (f"{numbers.choice('ABCDE')}{numbers.randint(1, row - 1)}" for _ in range(2))
                operator = numbers.choice("+-")
                first = max(1, row - 5)
                cells[f"{column}{row}"] = f"=({one}{operator}{other})/2+AVERAGE(A{first}:E{row - 1})"
        return Sheet(cells)

    return make
