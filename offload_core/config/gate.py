"""The one gate: every value of a configuration passes here, wherever it is from and whatever it is called there.

A value that may pass is laid over what is there already. One that is locked is refused, and so is one that decides what
is locked under another name; `IMPLICATIONS` says which those are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import define, evolve, field, frozen

from ..suggestion import did_you_mean
from .documents import MISSING, Document, EnvironmentText, plain
from .expansion import ExpansionError, expand
from .key_tree import KeyTree
from .keys import DEFAULT, KeyPath, Layer, Origin, dotted, located, refuse
from .layers import Layers, spelled_as
from .locks import Lock, Locks
from .runners import Runner, Tier
from .schema import PLUGIN_TABLES

_PROJECT_ROOT: KeyPath = ("offload", "sandbox_project_root")
_REPOSITORY_ROOT: KeyPath = ("offload", "sandbox_repo_root")
_PROVIDER_ENV: KeyPath = ("provider", "env")


class Effect(Enum):
    """What a value does to the other key that it decides, in words for messages."""

    HIDES = "hide"  # it counts instead of the other; if they are the same, nothing is decided
    FILLS = "also set"  # it is the value of both where the other has none
    REPLACES = "replace"  # it adds to the other or makes it meaningless, whatever that is


@frozen
class Implication:
    """A value that decides another key's, too. Where it is a table, each value in it decides the one of that name.

    Attributes:
        key: of the value; for an option of a command that is no key, the option's name.
        decides: the other key, or table of which all is decided.
        but: what in that table is not.
    """

    key: KeyPath
    decides: KeyPath
    effect: Effect
    but: frozenset[str] = frozenset()

    def decided_by(self, path: KeyPath) -> KeyPath | None:
        """What a value at `path` decides by this."""
        return (*self.decides, *path[len(self.key) :]) if path[: len(self.key)] == self.key else None

    def changes(self, value: Any, before: Any, there: Any) -> bool:
        """Whether a value, which replaces the one before, changes what it decides, which is `there` now."""
        match self.effect:
            case Effect.HIDES:
                return not same(value, there) and not same(value, before)
            case Effect.FILLS:
                return _given(there) is MISSING and not same(_given(value), _given(before))
        return True


IMPLICATIONS = (
    Implication(("framework", "env"), _PROVIDER_ENV, Effect.HIDES),
    Implication(_REPOSITORY_ROOT, _PROJECT_ROOT, Effect.FILLS),
    Implication(_PROJECT_ROOT, _REPOSITORY_ROOT, Effect.FILLS),
    Implication(("--env",), _PROVIDER_ENV, Effect.HIDES),
    Implication(("--copy-dir",), ("provider", "copy_dirs"), Effect.REPLACES),
    Implication(("--override-image-id",), ("offload", "sandbox_init_cmd"), Effect.REPLACES),
    Implication(("--override-image-id",), ("offload", "post_patch_cmd"), Effect.REPLACES),
    # which of a provider's keys are about its image is not known here
    Implication(("--override-image-id",), ("provider",), Effect.REPLACES, but=frozenset({"type", "env"})),
)
"""Everything that is decided by another value than the key's own. What is new in this respect belongs here."""

_OPTIONS = tuple(str(each.key[0]) for each in IMPLICATIONS if str(each.key[0]).startswith("--"))
"""Options of commands that are no keys, but do what a key says."""


@define
class Gate:
    """Lets values in, weakest layer first, and collects what is wrong, so that one message names all.

    Attributes:
        policy: the values of the policy, which are laid over those of runners, and are what its locks keep.
        policy_locks: hold for everything but the policy and its own runners.
        environ: for `${…}`, where values of `[provider.env]` are compared.
        layers: what was let in.
        locks: hold for the project's file and all that is stronger; known when all is laid.
    """

    policy: Document = field(factory=lambda: Document({}, Origin(Layer.POLICY)))
    policy_locks: Locks = field(factory=Locks)
    environ: Mapping[str, str] = field(factory=dict)
    layers: Layers = field(factory=Layers, init=False)
    locks: Locks = field(factory=Locks, init=False)
    _problems: list[str] = field(factory=list, init=False)

    def foresee(self, key: KeyPath, runners: Sequence[Runner], documents: Sequence[Document]) -> tuple[Any, Origin]:
        """The value that a key will have when all is laid: for those that decide how everything else is read."""
        found: tuple[Any, Origin] = (MISSING, DEFAULT)
        for document, locks in self._in_order(runners, documents):
            value = document.get(key)
            if value is not MISSING and not locks.on(key):
                found = value, document.at(key)
        return found

    def pass_definition(self, runner: Runner, claims: Iterable[str] = (), replaced: Sequence[Runner] = ()) -> None:
        """Pass the definition of a runner that is used.

        Args:
            claims: who else defines its name, if the policy does.
            replaced: the runner of this name in weaker places, after all that it extends, if the project defines it.
        """
        because = f": {runner.table.lock_reason}" if runner.table.lock_reason else ""
        self._problems += [
            f"{claim}: the policy defines the runner {runner.name!r} ({runner.origin}), and no other place may{because}"
            for claim in claims
        ]
        for lock in (lock for each in replaced for lock in each.locks):
            words = f"{dotted(lock.path)} is {lock}. Another definition of the runner would take that away; "
            self._note(runner.origin, ("runners", runner.name), words + "give it a name of its own")

    def lay(self, tree: KeyTree, runners: Sequence[Runner], documents: Sequence[Document] = ()) -> None:
        """Pass all layers, and lay what is let in.

        Args:
            tree: the keys that there are, for older names.
            runners: the one that is selected, after all that it extends.
            documents: what is stronger than the policy, weakest first.
        """
        self.policy = tree.canonical(self.policy)
        self.policy_locks = Locks(_canonical(self.policy_locks, tree))
        runners = [evolve(runner, locks=_canonical(runner.locks, tree)) for runner in runners]
        self.locks = Locks((*self.policy_locks, *(lock for runner in runners for lock in runner.locks)))
        for document, locks in self._in_order(runners, documents):
            if document.origin.layer is Layer.ENVIRONMENT:
                document = evolve(document, values=spelled_as(document.values, self.layers.values))
            document = tree.canonical(document)
            # an option that is no key has its effect elsewhere
            self.layers.lay(evolve(document, values=self._permitted(document, locks)).without(*_OPTIONS))

    def complete(self, tree: KeyTree) -> None:
        """When all is laid: set what is implied by it, and note locks that lock nothing."""
        for each in IMPLICATIONS:
            value, there = _given(self.layers.get(each.key)), _given(self.layers.get(each.decides))
            if each.effect is Effect.FILLS and isinstance(value, str) and there is MISSING:
                self.layers.lay(Document.single(each.decides, value, self.layers.at(each.key)))
        for lock in self.locks:
            if tree.find(lock.path) is None:
                self._refuse_lock(lock, tree)

    def close(self) -> None:
        """Say what was refused.

        Raises:
            ConfigError: names every value that is locked, where it was set, who locked it and why.
        """
        refuse(self._problems)

    def _in_order(self, runners: Sequence[Runner], documents: Sequence[Document]) -> Iterator[tuple[Document, Locks]]:
        """All layers, weakest first, each with the locks that hold for it."""
        held: tuple[Lock, ...] = ()
        for runner in runners:
            yield runner.values, Locks(held if runner.tier is Tier.POLICY else (*self.policy_locks, *held))
            held += runner.locks
        # the policy is above the runners, also above what they lock
        yield self.policy, Locks()
        yield from ((document, Locks((*self.policy_locks, *held))) for document in documents)

    def _permitted(self, document: Document, locks: Locks, path: KeyPath = ()) -> dict[str, Any]:
        """What may be laid of the table at `path`. To repeat the value that a locked key has anyway is no problem."""
        permitted = {}
        for name, value in document.get(path).items():
            here = (*path, name)
            lock = locks.on(here)
            if isinstance(value, dict) and (value or lock is None or isinstance(self._kept(here, lock), dict)):
                inner = self._permitted(document, locks, here)
                if lock is None or inner:
                    permitted[name] = inner
                continue
            # what is no table replaces all that is in one; an empty one can mean something by being there
            lock = lock or locks.below(here)
            if lock is None:
                noted = len(self._problems)
                for leaf, each in _leaves(here, value):
                    self._refuse_implied(leaf, each, document, locks)
                if len(self._problems) == noted:
                    permitted[name] = value
            elif not same(value, self._kept(here, lock)):
                self._note(document.at(here), here, str(lock))
        return permitted

    def _kept(self, path: KeyPath, lock: Lock) -> Any:
        """The value that a lock keeps. That of the policy is laid only after the runners."""
        value = self.policy.get(path) if lock.by_policy else MISSING
        return self.layers.get(path) if value is MISSING else value

    def _refuse_implied(self, path: KeyPath, value: Any, document: Document, locks: Locks) -> None:
        """Note it if a value decides what is locked under another name."""
        for each in IMPLICATIONS:
            decided = each.decided_by(path)
            lock = locks.on(decided) or locks.below(decided, each.but) if decided else None
            if not decided or not lock:
                continue
            if not each.changes(value, self._kept(path, lock), self._expanded(decided, lock)):
                continue
            key = lock.path if lock.is_inside(decided) else decided
            if path[0] in _OPTIONS:
                self._note(" ".join(map(str, path)), key, str(lock))
            else:
                self._note(document.at(path), path, f"it would {each.effect.value} {dotted(key)}, which is {lock}")

    def _expanded(self, path: KeyPath, lock: Lock) -> Any:
        """What a locked value is for a sandbox: `${…}` counts in `[provider.env]`, and nowhere else."""
        value = self._kept(path, lock)
        try:
            in_env = isinstance(value, str) and path[: len(_PROVIDER_ENV)] == _PROVIDER_ENV
            return expand(value, self.environ) if in_env else value
        except ExpansionError:
            return value

    def _refuse_lock(self, lock: Lock, tree: KeyTree) -> None:
        """A lock on a key that does not exist locks nothing: a typing error, or another plugin than was meant."""
        table, *rest = lock.path
        if table in PLUGIN_TABLES:
            kind: KeyPath = (table, "type")
            words = f"the {table} {self.layers.get(kind)!r} has no key {dotted(tuple(rest))}, which is {lock}"
            self._note(self.layers.at(kind), kind, words)
            return
        inside = tree.find(lock.path[:-1])
        hint = did_you_mean(str(lock.path[-1]), inside.names()) if inside else ""
        self._note(lock.origin, lock.path, f"{lock.owner} locks a key that does not exist{hint}")

    def _note(self, origin: Origin | str, path: KeyPath, words: str) -> None:
        self._problems.append(located(origin, path, words))


def same(value: Any, other: Any) -> bool:
    """Whether two raw values mean the same. 1 and 1.0 do, 1 and true do not."""
    if isinstance(value, EnvironmentText):
        return str(value) == other or same(value.parsed(), other)
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(same(value[name], other[name]) for name in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    return bool(value == other) and isinstance(value, bool) is isinstance(other, bool)


def _canonical(locks: Iterable[Lock], tree: KeyTree) -> tuple[Lock, ...]:
    return tuple(evolve(lock, path=tree.canonical_path(lock.path)) for lock in locks)


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    """The value, or if it is a table, all in it."""
    table = plain(value)
    if not isinstance(table, Mapping):
        yield path, value
        return
    for name, each in table.items():
        yield from _leaves((*path, name), each)


def _given(value: Any) -> Any:
    """A path that is empty is none."""
    return MISSING if plain(value) == "" else value
