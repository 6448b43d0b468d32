"""Marks that several tests give."""

from __future__ import annotations

from typing import Any

import pytest


def nightly(*values: Any) -> Any:
    """Values of a parametrized test that are run at night; by day others stand for them."""
    return pytest.param(*values, marks=pytest.mark.nightly)
