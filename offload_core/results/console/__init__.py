"""What people see: results on stdout; progress, warnings and incidents on stderr.

`PlainConsole` writes lines, for CI and pipes; `LiveConsole` adds a display that follows the run, on a terminal.
"""

from __future__ import annotations

from .base import Console
from .opening import ConsoleOptions, open_console
from .plain import PlainConsole
from .printer import Line, Printer

__all__ = ["Console", "ConsoleOptions", "Line", "PlainConsole", "Printer", "open_console"]
