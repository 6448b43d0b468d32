"""Runners: named sets of configuration that many projects share. What a definition says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import evolve, frozen

from ..abc import key
from ..errors import ConfigError
from .documents import Document
from .keys import parsed_key
from .layers import Origin, Path, dotted
from .locks import RUNNER_KEY, Lock
from .structure import Findings, found_words, keys_of, nearest, structure

VARIABLE = "OFFLOAD_RUNNERS"
"""Names a file with runners, or a folder of such files."""


class Place(StrEnum):
    """Where a runner can be defined, weakest first."""

    PACKAGE = "package"
    SYSTEM = "system"
    USER = "user"
    VARIABLE = VARIABLE
    PROJECT = "project"
    POLICY = "policy"


@frozen(kw_only=True)
class RunnerTable:
    """`[runners.NAME]`: what a runner says of itself. Beside it stand tables as in `offload.toml`."""

    description: str = key("", "What the runner is for.")
    extends: str | None = key(None, "The runner that this one builds on.")
    locked: tuple[str, ...] = key(
        (), 'Keys (`"offload.max_parallel"`) and whole tables (`"provider"`) that nobody who uses the runner may set.'
    )
    lock_reason: str = key("", "Why; part of the message to those who try.")


@frozen(kw_only=True)
class Runner:
    """A definition of a runner.

    Attributes:
        values: the tables that it sets.
        origin: where the definition begins.
        place, source: what kind of place it is from, and which: a package or a file.
        locks: what it locks itself, without what the runners it extends do.
    """

    name: str
    table: RunnerTable
    values: Document
    place: Place
    source: str
    locks: tuple[Lock, ...]

    @property
    def origin(self) -> Origin:
        """Where its table stands."""
        return self.values.origin

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"


def locks_of(entries: Sequence[str], path: Path, where: Document, lock: Lock) -> tuple[Lock, ...]:
    """The locks of a `locked` list, which stands at `path` in a document; all like `lock`, but in key and line.

    Raises:
        ConfigError: an entry is no dotted key.
    """
    locks = []
    for index, entry in enumerate(entries):
        locked, origin = parsed_key(entry), where.at((*path, index))
        if locked is None:
            raise ConfigError(f"{origin}: {dotted((*path, index))}: {entry!r} is no key; write it as {_AS_KEYS}")
        locks.append(evolve(lock, path=locked, origin=origin))
    return tuple(locks)


_AS_KEYS = '"provider", "offload.max_parallel" or \'groups."slow tests".retry_count\''


def definitions(found: Document, place: Place, source: str) -> Iterator[Runner]:
    """Every `[runners.NAME]` of a document.

    Raises:
        ConfigError: one of them is wrong; says where.
    """
    tables = found.values.get("runners", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{found.at(('runners',))}: runners: expected a table, found {found_words(tables)}")
    for name, table in tables.items():
        where = ("runners", name)
        if not isinstance(table, dict):
            raise ConfigError(f"{found.at(where)}: {dotted(where)}: expected a table, found {found_words(table)}")
        yield _definition(found, name, place, source)


def _definition(found: Document, name: str, place: Place, source: str) -> Runner:
    where = ("runners", name)
    own = keys_of(RunnerTable)
    values: Mapping[str, Any] = found.values["runners"][name]
    table = table_of(RunnerTable, {key: value for key, value in values.items() if key in own}, found, where)
    lock = Lock((), f"the runner {name!r}", found.at(where), table.lock_reason)
    locks = locks_of(table.locked, (*where, "locked"), found, lock)
    if any(lock.path == RUNNER_KEY for lock in locks):
        raise ConfigError(
            f"{found.at((*where, 'locked'))}: {dotted(where)}: a runner cannot lock offload.runner, since it would "
            "not be asked if another one were selected; a policy can"
        )
    tables = found.inside(where, *own)
    if isinstance(tables.values.get("offload"), dict) and "runner" in tables.values["offload"]:
        raise ConfigError(
            f"{tables.at(RUNNER_KEY)}: {dotted((*where, *RUNNER_KEY))}: a runner cannot select a runner; "
            "`extends` builds one on another"
        )
    if "runners" in tables.values:
        raise ConfigError(f"{tables.at(('runners',))}: {dotted((*where, 'runners'))}: runners cannot be nested")
    return Runner(name=name, table=table, values=tables, place=place, source=source, locks=locks)


def table_of(cls: type[Any], raw: Any, found: Document, where: Path) -> Any:
    """A table that says something about configuration, structured. Unknown keys are errors here.

    Raises:
        ConfigError: wrong types, or unknown keys.
    """
    findings = Findings()
    made = structure(cls, raw, where, findings)
    problems = [f"{found.at(path)}: {dotted(path)}: {words}" for path, words in findings.problems]
    for path, known in findings.unknown:
        near = nearest(str(path[-1]), known)
        hint = f"; did you mean {near}?" if near else ""
        problems.append(f"{found.at(path)}: {dotted(path)}: there is no such key{hint}")
    if problems:
        raise ConfigError("\n".join(problems))
    return made
