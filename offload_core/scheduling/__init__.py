"""What runs next, where: pure and synchronous, with no I/O and no knowledge of providers."""

from .estimates import Estimates
from .idle import half_of, most_held, overdue_by
from .longest_first import LongestFirst
from .poison import Crash, CrashKind, Poison, Ruling
from .protocol import Bundle, Scheduler

__all__ = [
    "Bundle",
    "Crash",
    "CrashKind",
    "Estimates",
    "LongestFirst",
    "Poison",
    "Ruling",
    "Scheduler",
    "half_of",
    "most_held",
    "overdue_by",
]
