"""For the tests of the store: a file of their own, and a large one that a module shares and only reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gridcalc import Sheet
from gridcalc.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store can be made."""
    return tmp_path / "sheets.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An empty store."""
    with Store(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, ledger_cells: dict[str, str]) -> Iterator[Store]:
    """A store in which the ledger has 30 versions, each with one row more."""
    with Store(tmp_path_factory.mktemp("archive") / "sheets.sqlite") as opened:
        for rows in range(1, 31):
            cells = {name: text for name, text in ledger_cells.items() if int(name[1:]) <= rows}
            opened.save("ledger", Sheet(cells), author=f"clerk {rows % 3}")
        yield opened
