"""What runs next, where: pure and synchronous, with no I/O and no knowledge of providers."""

from .estimates import Estimates
from .longest_first import LongestFirst
from .poison import Crash, CrashKind, Poison, Ruling
from .protocol import Bundle, Scheduler

__all__ = ["Bundle", "Crash", "CrashKind", "Estimates", "LongestFirst", "Poison", "Ruling", "Scheduler"]
