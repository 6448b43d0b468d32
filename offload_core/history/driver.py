"""The three-way merge of whole histories, as git asks a merge driver for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import ReportError
from .entry import Entry, Key
from .file import History, locked, read_history, write_history
from .merging import with_base, without_base


def merge_files(base: Path, ours: Path, theirs: Path, note: Callable[[str], None]) -> None:
    """Merge what `theirs` has added into `ours`, which is replaced.

    Args:
        base: what both come from. What of it cannot be read is as if it had not been there, and `note` is told.

    Raises:
        ReportError: `ours` or `theirs` cannot be read, or `ours` not be written; it is as it was.
    """
    with locked(ours):
        merged = _whole(ours)
        merge(_past(base, note), merged, _whole(theirs), note)
        write_history(merged)


def merge(base: History, ours: History, theirs: History, note: Callable[[str], None]) -> None:
    """Make `ours` the merge of both. It has every test that either has.

    Raises:
        ReportError: an entry of `ours` or `theirs` is damaged.
    """
    for key, line in theirs.lines.items():
        own, past = ours.lines.get(key), base.lines.get(key)
        if own is None or own == past:
            ours.lines[key] = line
        elif line not in (own, past):
            root, pair = _past_entry(base, key, note), (ours.entry(key), theirs.entry(key))
            ours.put(key, with_base(root, *pair) if root else without_base(*pair))


def _whole(path: Path) -> History:
    if not path.is_file():
        raise ReportError(f"there is no history at {path}")
    history = read_history(path)
    if history.problems:
        raise ReportError(f"{history.problem}. Nothing was merged")
    return history


def _past(path: Path, note: Callable[[str], None]) -> History:
    try:
        base = read_history(path)
    except ReportError as error:
        note(f"{error}: merged as if there were no common past")
        return History(path)
    if base.problems:
        note(f"{base.problem}: merged as if it had not been there")
    return base


def _past_entry(base: History, key: Key, note: Callable[[str], None]) -> Entry | None:
    try:
        return base.entry(key) if key in base.lines else None
    except ReportError as error:
        note(f"{error}: merged as if it had not been there")
        return None
