"""A small spreadsheet: formulas, recalculation, versions, diff and merge. Standard library only.

It is the example that Offload's documentation runs: a real library, small enough to read, with a test suite that takes
long enough to be worth running in parallel.
"""

from .address import Cell, Range
from .errors import FormulaError, GridError, StoreConflict
from .sheet import Sheet
from .values import Problem, Value

__all__ = ["Cell", "FormulaError", "GridError", "Problem", "Range", "Sheet", "StoreConflict", "Value"]
