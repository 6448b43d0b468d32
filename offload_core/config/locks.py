"""Keys that a runner or the policy has locked: stronger layers cannot set them, and are told so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from .documents import Document
from .layers import EnvironmentText, Layers, Origin, Path, dotted

RUNNER_KEY: Path = ("offload", "runner")
"""Selects the runner, so that no runner can lock it; a policy can."""

_MISSING = object()


@frozen
class Lock:
    """A key, or a whole table, that keeps the value it has where it was locked.

    Attributes:
        path: of the key or table, in today's names.
        owner: who locked it, in words.
        origin: where in the runner or policy that stands.
        reason: the `lock_reason` there, if any.
        by_policy: whether it is the policy that locks.
    """

    path: Path
    owner: str
    origin: Origin
    reason: str = ""
    by_policy: bool = False

    def __str__(self) -> str:
        return f"locked by {self.owner} ({self.origin})" + (f": {self.reason}" if self.reason else "")

    def covers(self, path: Path) -> bool:
        """Whether the key at `path` is locked by this."""
        return path[: len(self.path)] == self.path and (path != RUNNER_KEY or self.by_policy)


@frozen
class Locks:
    """All locks that hold for a layer, those that are named first in messages first."""

    locks: tuple[Lock, ...] = ()

    def and_(self, others: Iterable[Lock]) -> Locks:
        """These, then others."""
        return Locks((*self.locks, *others))

    def on(self, path: Path) -> Lock | None:
        """The lock on a key: its own, or that of a table around it."""
        return next((lock for lock in self.locks if lock.covers(path)), None)

    def below(self, path: Path) -> Lock | None:
        """A lock on something inside the table at `path`."""
        return next((lock for lock in self.locks if lock.path[: len(path)] == path != lock.path), None)

    def permitted(self, document: Document, current: Layers, problems: list[str]) -> Document:
        """The document without what is locked, and a problem for each value in it that is not what is locked in.

        To set a locked key to the value that it has anyway is no problem.
        """
        refused: list[tuple[Path, Lock]] = []
        values = self._permitted(document.values, (), current.values, refused)
        problems += [f"{document.at(path)}: {dotted(path)}: {lock}" for path, lock in refused]
        return Document(values, document.origin, document.origins)

    def _permitted(
        self, values: Mapping[str, Any], path: Path, current: Any, refused: list[tuple[Path, Lock]]
    ) -> dict[str, Any]:
        kept = {}
        for name, value in values.items():
            here = (*path, name)
            there = current.get(name, _MISSING) if isinstance(current, Mapping) else _MISSING
            lock = self.on(here)
            if isinstance(value, dict) and (value or isinstance(there, Mapping) or lock is None):
                inner = self._permitted(value, here, there, refused)
                if lock is None:
                    kept[name] = inner
                continue
            # what is no table replaces all that is in one; an empty one can mean something by being there
            lock = lock or self.below(here)
            if lock is None:
                kept[name] = value
            elif not same(value, there):
                refused.append((here, lock))
        return kept


def same(value: Any, other: Any) -> bool:
    """Whether two raw values mean the same. 1 and 1.0 do, 1 and true do not."""
    if isinstance(value, EnvironmentText):
        return str(value) == other or same(value.parsed(), other)
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(same(value[name], other[name]) for name in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    return bool(value == other) and isinstance(value, bool) is isinstance(other, bool)
