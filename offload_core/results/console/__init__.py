"""What people see: results on stdout; progress, warnings and incidents on stderr.

`PlainConsole` writes lines, for CI and pipes; `LiveConsole` adds a display that follows the run, on a terminal.
"""

from __future__ import annotations

from ._base import Console
from ._open import ConsoleOptions, open_console
from ._output import Line, Output
from ._plain import PlainConsole
from ._text import count, duration, incident, money

__all__ = [
    "Console",
    "ConsoleOptions",
    "Line",
    "Output",
    "PlainConsole",
    "count",
    "duration",
    "incident",
    "money",
    "open_console",
]
