"""Runners: named sets of configuration that many projects share. What a definition says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen
from typing_extensions import override

from ..abc import key
from ..errors import ConfigError
from .annotations import keys_of
from .documents import MISSING, Document
from .keys import KeyPath, Origin, located
from .locks import RUNNER_KEY, Lock, locks_of
from .structure import found_words, strict_table

VARIABLE = "OFFLOAD_RUNNERS"
"""Names a file with runners, or a folder of such files."""


class Tier(StrEnum):
    """What kind of place a runner is defined in, weakest first. The policy's stand apart."""

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
        tier: what kind of place it is from.
        locks: what it locks itself, without what the runners it extends do.
    """

    name: str
    table: RunnerTable
    values: Document
    tier: Tier
    locks: tuple[Lock, ...]

    @property
    def origin(self) -> Origin:
        """Where its table stands."""
        return self.values.origin

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"


def definitions(found: Document, tier: Tier) -> Iterator[Runner]:
    """Every `[runners.NAME]` of a document.

    Raises:
        ConfigError: one of them is wrong; says where.
    """
    for name in _table(found, ("runners",)):
        yield _definition(found, name, tier)


def by_name(runners: Iterable[Runner]) -> dict[str, Runner]:
    """Definitions of which none is stronger than another.

    Raises:
        ConfigError: two of them define one name.
    """
    found: dict[str, Runner] = {}
    for runner in runners:
        first = found.setdefault(runner.name, runner)
        if first is not runner:
            words = f"defined at {first.origin} already"
            raise ConfigError(located(runner.origin, ("runners", runner.name), words))
    return found


def _definition(found: Document, name: str, tier: Tier) -> Runner:
    where: KeyPath = ("runners", name)
    own = keys_of(RunnerTable)
    said = {key: value for key, value in _table(found, where).items() if key in own}
    table = strict_table(RunnerTable, said, found, where)
    lock = Lock((), f"the runner {name!r}", found.at(where), table.lock_reason)
    locks = locks_of(table.locked, (*where, "locked"), found, lock)
    values = found.inside(where, *own)
    if any(lock.path == RUNNER_KEY for lock in locks):
        words = "a runner cannot lock offload.runner, since it would not be asked if another one were selected; "
        raise found.error((*where, "locked"), words + "a policy can")
    if values.get(RUNNER_KEY) is not MISSING:
        raise found.error((*where, *RUNNER_KEY), "a runner cannot select a runner; `extends` builds one on another")
    if "runners" in values.values:
        raise found.error((*where, "runners"), "runners cannot be nested")
    return Runner(name=name, table=table, values=values, tier=tier, locks=locks)


def _table(found: Document, where: KeyPath) -> Mapping[str, Any]:
    table = found.get(where)
    if table is MISSING:
        return {}
    if not isinstance(table, dict):
        raise found.error(where, f"expected a table, found {found_words(table)}")
    return table
