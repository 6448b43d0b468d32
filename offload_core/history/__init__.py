"""Durations and outcomes of tests across runs: `[history]`, a file that people commit and merge.

It makes the next schedule better, and tells which tests are slow or flaky. What only one run knows is in its journal.
"""

from .driver import merge_files
from .durations import RecordedDurations, expected_secs
from .entry import Entry, Key, Sample
from .file import History, locked, read_history, write_history
from .recording import record_run

__all__ = [
    "Entry",
    "History",
    "Key",
    "RecordedDurations",
    "Sample",
    "expected_secs",
    "locked",
    "merge_files",
    "read_history",
    "record_run",
    "write_history",
]
