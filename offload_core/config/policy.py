"""The machine's policy: values, locks and runners that stand above all other configuration.

It guards against mistakes and drift. Whoever can write the file, or replace Offload, can do without it.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from ..abc import key
from ..errors import ConfigError
from ..suggestion import did_you_mean
from .annotations import keys_of
from .catalog import RunnerFiles
from .documents import Document, document, read
from .keys import KeyPath, Layer, Origin
from .locks import Lock, Locks, locks_of
from .runners import Tier, by_name
from .schema import Config
from .structure import strict_table

POLICY_FILE = Path("/etc/offload/policy.toml")
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

    path: Path | None = None
    values: Document = field(factory=lambda: Document({}, Origin(Layer.POLICY)))
    locks: Locks = field(factory=Locks)
    runners: tuple[RunnerFiles, ...] = ()


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
    known = ("policy", "runners", *keys_of(Config))
    for name in found.values:
        if name not in known:
            raise found.error((name,), f"a policy has no such table{did_you_mean(name, known)}")
    table = strict_table(PolicyTable, found.values.get("policy", {}), found, ("policy",))
    lock = Lock((), "the policy", found.origin, table.lock_reason, by_policy=True)
    return Policy(
        path=path,
        values=found.without("policy", "runners"),
        locks=Locks(locks_of(table.locked, ("policy", "locked"), found, lock)),
        runners=_runners(found, path, table),
    )


def _runners(found: Document, path: Path, table: PolicyTable) -> tuple[RunnerFiles, ...]:
    sources = [RunnerFiles(Tier.POLICY, path, given=found)]
    for index, name in enumerate(table.runners):
        where: KeyPath = ("policy", "runners", index)
        if not Path(name).is_absolute():
            raise found.error(where, f"not an absolute path: {name}")
        sources.append(RunnerFiles(Tier.POLICY, Path(name), required=True))
    by_name(runner for source in sources for runner in source.runners.values())
    return tuple(sources)
