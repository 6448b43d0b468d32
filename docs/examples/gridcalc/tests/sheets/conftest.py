"""For the tests of sheets: every one of them checks, at its end, that nobody changed the ledger that all share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def ledger_untouched(ledger_cells: dict[str, str]) -> Iterator[None]:
    """The session's cells are the same before and after each test."""
    before = dict(ledger_cells)
    yield
    assert ledger_cells == before
