"""Versions in one process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from gridcalc import GridError, Sheet, StoreConflict
from gridcalc.errors import UnknownSheet
from gridcalc.store import Store, Version


def test_saved_and_loaded(store: Store) -> None:
    """The newest version comes back, with its number."""
    assert store.save("a", Sheet({"A1": "1"})) == 1
    assert store.save("a", Sheet({"A1": "2"})) == 2
    assert store.load("a") == (Sheet({"A1": "2"}), 2)
    assert store.load("a", 1) == (Sheet({"A1": "1"}), 1)


def test_sheets_count_for_themselves(store: Store) -> None:
    """A name is any text; each has its own numbers."""
    for name in ("a", "", "ü b", "'; DROP TABLE version; --"):
        assert store.save(name, Sheet({"A1": name or "x"})) == 1
    assert store.names() == sorted(["a", "", "ü b", "'; DROP TABLE version; --"])


@pytest.mark.parametrize(("name", "number"), [("b", None), ("a", 2), ("a", -1)])
def test_unknown(store: Store, name: str, number: int | None) -> None:
    """No such sheet, no such version."""
    store.save("a", Sheet({}))
    with pytest.raises(UnknownSheet, match=name):
        store.load(name, number)


@pytest.mark.parametrize("expected", [0, 2, 99])
def test_a_conflict_changes_nothing(store: Store, expected: int) -> None:
    """Who expects another version than the newest is refused."""
    store.save("a", Sheet({"A1": "1"}))
    with pytest.raises(StoreConflict, match="at version 1"):
        store.save("a", Sheet({"A1": "2"}), expected=expected)
    assert store.load("a") == (Sheet({"A1": "1"}), 1)


@pytest.mark.parametrize("number", [1, 7, 15, 30])
def test_old_versions_stay(archive: Store, number: int) -> None:
    """Each version has the rows it had."""
    sheet, found = archive.load("ledger", number)
    assert (found, len(sheet)) == (number, number * 4)


def test_history(archive: Store) -> None:
    """All versions, oldest first, with their authors."""
    history = archive.history("ledger")
    assert [version.number for version in history] == list(range(1, 31))
    assert history[4] == Version(5, "clerk 2")
    assert archive.history("nothing") == []


def test_a_failed_edit_changes_nothing(store: Store) -> None:
    """An exception in the middle of an edit leaves the newest version as it was."""
    store.save("a", Sheet({"A1": "1"}))

    def fail(sheet: Sheet) -> None:
        sheet["A1"] = "2"
        raise GridError("changed my mind")

    with pytest.raises(GridError, match="changed my mind"):
        store.edit("a", fail)
    assert store.load("a") == (Sheet({"A1": "1"}), 1)


def test_an_edit_is_repeated_after_a_conflict(store: Store, path: Path) -> None:
    """Somebody who comes in between is not overwritten."""
    seen: list[int] = []

    def change(sheet: Sheet) -> None:
        if not seen:
            with Store(path) as other:
                other.save("a", Sheet({"B1": "theirs"}))
        seen.append(len(sheet))
        sheet["A1"] = "ours"

    assert store.edit("a", change) == 2
    assert seen == [0, 1]
    assert store.load("a")[0].typed == {"A1": "ours", "B1": "theirs"}


def test_a_store_survives_closing(path: Path) -> None:
    """What was saved is in the file."""
    with Store(path) as first:
        first.save("a", Sheet({"A1": "=1+1"}))
    with Store(path) as second:
        assert second.load("a")[0]["A1"] == 2.0


def test_not_a_store(path: Path) -> None:
    """A file that is something else is refused, and left as it is."""
    path.write_bytes(b"something else, and long enough to be read as a header" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        Store(path)
    assert path.read_bytes().startswith(b"something else")
