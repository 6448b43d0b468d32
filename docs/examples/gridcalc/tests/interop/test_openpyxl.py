"""Beside a library for real spreadsheets, where it is installed: elsewhere the whole module is skipped."""

from __future__ import annotations

import pytest
from gridcalc.address import column_index, column_name

utils = pytest.importorskip("openpyxl.utils")


@pytest.mark.parametrize("index", [0, 25, 26, 701, 702, 16383])
def test_columns_have_the_same_names(index: int) -> None:
    """Both name columns alike; openpyxl counts from 1."""
    assert column_name(index) == utils.get_column_letter(index + 1)
    assert column_index(column_name(index)) == utils.column_index_from_string(column_name(index)) - 1
