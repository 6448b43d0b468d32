"""Keys that a runner or the policy has locked: stronger layers cannot set them. `Gate` refuses what does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from attrs import evolve, frozen
from typing_extensions import override

from .documents import Document
from .keys import KeyPath, Origin, parsed_key

RUNNER_KEY: KeyPath = ("offload", "runner")
"""Selects the runner, so that no runner can lock it; a policy can."""

_AS_KEYS = '"provider", "offload.max_parallel" or \'groups."slow tests".retry_count\''


@frozen
class Lock:
    """A key, or a whole table, that keeps the value it has where it was locked.

    Attributes:
        path: of the key or table.
        owner: who locked it, in words.
        origin: where in the runner or policy that stands.
        reason: the `lock_reason` there, if any.
        by_policy: whether it is the policy that locks.
    """

    path: KeyPath
    owner: str
    origin: Origin
    reason: str = ""
    by_policy: bool = False

    @override
    def __str__(self) -> str:
        return f"locked by {self.owner} ({self.origin})" + (f": {self.reason}" if self.reason else "")

    def covers(self, path: KeyPath) -> bool:
        """Whether the key at `path` is locked by this."""
        return path[: len(self.path)] == self.path and (path != RUNNER_KEY or self.by_policy)

    def is_inside(self, path: KeyPath) -> bool:
        """Whether this locks something in the table at `path`, but not all of it."""
        return self.path[: len(path)] == path != self.path


@frozen
class Locks:
    """All locks that hold for a layer, those that are named first in messages first."""

    locks: tuple[Lock, ...] = ()

    def __iter__(self) -> Iterator[Lock]:
        return iter(self.locks)

    def on(self, path: KeyPath) -> Lock | None:
        """The lock on a key: its own, or that of a table around it."""
        return next((lock for lock in self.locks if lock.covers(path)), None)

    def below(self, path: KeyPath, but: Collection[str] = ()) -> Lock | None:
        """A lock on something inside the table at `path`; not on what is named by `but`."""
        inside = (lock for lock in self.locks if lock.is_inside(path))
        return next((lock for lock in inside if lock.path[len(path)] not in but), None)


def locks_of(entries: Sequence[str], path: KeyPath, where: Document, lock: Lock) -> tuple[Lock, ...]:
    """The locks of a `locked` list, which stands at `path` in a document; all like `lock`, but in key and line.

    Raises:
        ConfigError: an entry is no dotted key.
    """
    locks = []
    for index, entry in enumerate(entries):
        locked, here = parsed_key(entry), (*path, index)
        if locked is None:
            raise where.error(here, f"{entry!r} is no key; write it as {_AS_KEYS}")
        locks.append(evolve(lock, path=locked, origin=where.at(here)))
    return tuple(locks)
