"""The machine's policy: values, locks and runners that stand above all other configuration.

It guards against mistakes and drift. Whoever can write the file, or replace Offload, can do without it.
"""

from __future__ import annotations

from pathlib import Path as HostPath

import attrs
from attrs import field, frozen

from ..abc import key
from ..errors import ConfigError
from .catalog import Files, Given
from .documents import Document, document, read
from .layers import Layer, Origin, dotted
from .locks import Lock, Locks
from .runners import Place, Runner, locks_of, table_of
from .schema import Config
from .structure import nearest

POLICY_FILE = HostPath("/etc/offload/policy.toml")
"""No variable and no option moves it."""


@frozen(kw_only=True)
class PolicyTable:
    """`[policy]`: what the policy says of itself. Beside it stand tables as in `offload.toml`, and `[runners.NAME]`."""

    locked: tuple[str, ...] = key(
        (), "Keys, and whole tables, that no project, variable, option, package or runner may set."
    )
    lock_reason: str = key("", "Why; part of the message to those who try.")
    runners: tuple[str, ...] = key(
        (), "Files with more runners of the policy, and folders of such files; absolute paths."
    )


@frozen(kw_only=True)
class Policy:
    """What the machine's policy says; nothing, where there is none.

    Attributes:
        path: the file, or None.
        values: of the configuration.
        locks: what no layer may set.
        runners: where the runners are that it vouches for.
    """

    path: HostPath | None = None
    values: Document = field(factory=lambda: Document({}, Origin(Layer.POLICY)))
    locks: Locks = field(factory=Locks)
    runners: tuple[Files, ...] = ()


def read_policy() -> Policy:
    """Read `POLICY_FILE`. A file that is there and cannot be used is an error: without it, nothing would be locked.

    Raises:
        ConfigError: it cannot be read, is not valid TOML, says nothing, or has keys that are not known.
    """
    path = POLICY_FILE
    try:
        text = read(path)
    except FileNotFoundError:
        for link in (path, *path.parents):
            if link.is_symlink() and not link.exists():
                raise ConfigError(f"the policy {path} cannot be read: {link} is a link to nothing") from None
        return Policy()
    except ConfigError as error:
        raise ConfigError(f"the policy of this machine cannot be used: {error}") from None
    found = document(text, str(path), Layer.POLICY)
    if not found.values:
        raise ConfigError(f"the policy {path} says nothing; remove the file if there is to be none")
    _refuse_unknown(found)
    table: PolicyTable = table_of(PolicyTable, found.values.get("policy", {}), found, ("policy",))
    lock = Lock((), "the policy", found.origin, table.lock_reason, by_policy=True)
    return Policy(
        path=path,
        values=found.without("policy", "runners"),
        locks=Locks(locks_of(table.locked, ("policy", "locked"), found, lock)),
        runners=_runners(found, path, table),
    )


def _refuse_unknown(found: Document) -> None:
    known = ("policy", "runners", *(each.name for each in attrs.fields(Config)))
    for name in found.values:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"{found.at((name,))}: {name}: a policy has no such table{hint}")


def _runners(found: Document, path: HostPath, table: PolicyTable) -> tuple[Files, ...]:
    places: list[Files] = [Given(Place.POLICY, path, given=found)]
    for index, name in enumerate(table.runners):
        if not HostPath(name).is_absolute():
            where = ("policy", "runners", index)
            raise ConfigError(f"{found.at(where)}: {dotted(where)}: not an absolute path: {name}")
        places.append(Files(Place.POLICY, HostPath(name), required=True))
    seen: dict[str, Runner] = {}
    for runner in (runner for place in places for runner in place.runners.values()):
        if runner.name in seen:
            raise ConfigError(f"{runner.origin}: runners.{runner.name}: defined at {seen[runner.name].origin} already")
        seen[runner.name] = runner
    return tuple(places)
