"""Lays all layers over each other: the runner that is selected, the policy, the file, the environment, the flags.

What a runner or the policy locks is refused here, before anything has a type: there is one place where values come
together, so there is no way around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from ..abc import Framework, Provider
from ..errors import ConfigError, PluginError
from ..plugins import load_framework_class, load_provider_class
from .catalog import Catalog, sources
from .documents import Document
from .keys import KeyTree, key_tree
from .layers import EnvironmentText, Layer, Layers, Origin, Override, dotted, environment_values
from .locks import RUNNER_KEY, Lock, Locks
from .policy import Policy, read_policy
from .runners import Place, Runner
from .structure import found_words, nearest


@frozen(kw_only=True)
class Assembled:
    """All values, untyped, and by whose leave.

    Attributes:
        layers: the values with their origins.
        locks: what stronger layers could not set.
        runners: the runner that was selected, after all that it extends; empty without one.
        policy: of this machine.
    """

    layers: Layers
    locks: Locks
    runners: tuple[Runner, ...]
    policy: Policy


def assemble(file: Document, environ: Mapping[str, str], overrides: Sequence[Override]) -> Assembled:
    """Lay the layers of a configuration.

    Args:
        file: the project's.
        environ: for `OFFLOAD_<TABLE>__<KEY>` and `OFFLOAD_RUNNERS`.
        overrides: from the command line.
    Raises:
        ConfigError: a locked key is set; the policy, or a runner that is used, is wrong or missing.
        PluginError: the package of a runner that is used does not load.
    """
    policy = read_policy()
    flags = [
        Document.single(tuple(each.path.split(".")), each.value, Origin(Layer.FLAG, each.flag)) for each in overrides
    ]
    name, origin = _selected(policy, [file, *_variables(environ, {}), *flags])
    known = Catalog(sources(environ, file), policy.runners)
    known.check_project()
    locked = policy.locks.on(RUNNER_KEY) is not None
    runners = known.chain(name, f"{origin}", only_policy=locked) if name else ()
    laying = _Laying(policy, runners, file.without("runners"), environ, flags)
    # which plugins the configuration names is known only when all is laid, and what an older name is only from them
    layers, _, _ = laying.lay(key_tree(None, None))
    provider, framework = _plugin_classes(layers)
    tree = key_tree(provider, framework)
    layers, locks, problems = laying.lay(tree)
    problems += _meaningless(locks, tree, layers)
    if problems:
        raise ConfigError("\n".join(problems))
    return Assembled(layers=layers, locks=locks, runners=runners, policy=policy)


def catalog(environ: Mapping[str, str], file: Document | None) -> Catalog:
    """Every place where runners can be defined: the policy's, and all others; with the project's file, if there is one.

    Raises:
        ConfigError: the policy cannot be used.
    """
    return Catalog(sources(environ, file), read_policy().runners)


def resolved(runners: Iterable[Runner]) -> tuple[Layers, Locks]:
    """What a runner, after all that it extends, sets and locks by itself.

    Raises:
        ConfigError: one of them sets what another one locks.
    """
    problems: list[str] = []
    nothing = Document({}, Origin(Layer.POLICY))
    found = lay_runners(runners, key_tree(None, None), nothing, Locks(), problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _selected(policy: Policy, documents: Iterable[Document]) -> tuple[str, Origin]:
    """The runner's name, or nothing, and who selects it.

    Raises:
        ConfigError: what selects it is no text, or may not.
    """
    layers, problems = Layers(), list[str]()
    layers.lay(policy.values.values, policy.values.origins, policy.values.origin)
    for document in documents:
        table = document.values.get("offload")
        if isinstance(table, dict) and "runner" in table:
            choice = Document({"offload": {"runner": table["runner"]}}, document.origin, document.origins)
            allowed = policy.locks.permitted(choice, layers, problems)
            layers.lay(allowed.values, allowed.origins, allowed.origin)
    if problems:
        raise ConfigError("\n".join(problems))
    table = layers.values.get("offload")
    name = table.get("runner", "") if isinstance(table, dict) else ""
    origin = layers.origin(RUNNER_KEY)
    if not isinstance(name, str):
        raise ConfigError(f"{origin}: {dotted(RUNNER_KEY)}: expected a string, found {found_words(name)}")
    if isinstance(name, EnvironmentText) and isinstance(name.parsed(), str):
        name = name.parsed()
    return str(name), origin


def _variables(environ: Mapping[str, str], existing: Mapping[str, Any]) -> Iterator[Document]:
    for variable, (path, value) in environment_values(environ, existing).items():
        yield Document.single(path, value, Origin(Layer.ENVIRONMENT, variable))


@frozen
class _Laying:
    policy: Policy
    runners: tuple[Runner, ...]
    file: Document
    environ: Mapping[str, str]
    flags: Sequence[Document] = field(factory=tuple)

    def lay(self, tree: KeyTree) -> tuple[Layers, Locks, list[str]]:
        """All layers, what was locked before the project's, and what is wrong."""
        problems: list[str] = []
        policy = tree.in_todays_names(self.policy.values)
        policy_locks = Locks(_todays(self.policy.locks.locks, tree))
        layers, locks = lay_runners(self.runners, tree, policy, policy_locks, problems)
        # the policy is above the runners, also above what they lock
        layers.lay(policy.values, policy.origins, policy.origin)
        locks = policy_locks.and_(locks.locks)

        def lay(document: Document) -> None:
            allowed = locks.permitted(tree.in_todays_names(document), layers, problems)
            layers.lay(allowed.values, allowed.origins, allowed.origin)

        lay(self.file)
        for document in (*_variables(self.environ, layers.values), *self.flags):
            lay(document)
        problems += _covered(layers, locks)
        return layers, locks, problems


def lay_runners(
    runners: Iterable[Runner], tree: KeyTree, policy: Document, policy_locks: Locks, problems: list[str]
) -> tuple[Layers, Locks]:
    """The values of a chain of runners, and what they lock.

    Args:
        policy: its values, which are not laid here; a runner of another place may not differ where they are locked.
        problems: what is added for each value that is locked.
    """
    layers, locks, above = Layers(), Locks(), Layers()
    above.lay(policy.values, policy.origins, policy.origin)
    for runner in runners:
        values = tree.in_todays_names(runner.values)
        if runner.place is not Place.POLICY:
            values = policy_locks.permitted(values, above, problems)
        values = locks.permitted(values, layers, problems)
        layers.lay(values.values, values.origins, values.origin)
        locks = locks.and_(_todays(runner.locks, tree))
    return layers, locks


def _todays(locks: Iterable[Lock], tree: KeyTree) -> tuple[Lock, ...]:
    return tuple(evolve(lock, path=tree.spelled(lock.path)) for lock in locks)


def _plugin_classes(layers: Layers) -> tuple[type[Provider[Any]] | None, type[Framework[Any]] | None]:
    """The plugins that the configuration names. One that cannot be loaded is reported by whoever needs it."""

    def loaded(table: str, load: Any) -> Any:
        values = layers.values.get(table)
        name = values.get("type") if isinstance(values, dict) else None
        try:
            return load(str(name)) if isinstance(name, str) else None
        except PluginError:
            return None

    return loaded("provider", load_provider_class), loaded("framework", load_framework_class)


def _covered(layers: Layers, locks: Locks) -> Iterator[str]:
    """`[framework.env]` is stronger than `[provider.env]`: it must not hide what is locked there."""
    provider, framework = (_table(layers.values, name, "env") for name in ("provider", "framework"))
    for name, value in framework.items():
        where: tuple[str, ...] = ("framework", "env", name)
        lock = locks.on(("provider", "env", name))
        if lock and value != provider.get(name) and layers.origin(where).layer in (Layer.FILE, Layer.ENVIRONMENT):
            yield f"{layers.origin(where)}: {dotted(where)}: it would hide provider.env.{name}, which is {lock}"


def _table(values: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        inner = values.get(name)
        values = inner if isinstance(inner, Mapping) else {}
    return values


def _meaningless(locks: Locks, tree: KeyTree, layers: Layers) -> Iterator[str]:
    """A lock on a key that does not exist locks nothing: a typing error, or another plugin than was meant."""
    for lock in locks.locks:
        if tree.find(lock.path) is not None:
            continue
        where = f"{lock.origin}: {dotted(lock.path)}"
        kind: tuple[str, ...] = (str(lock.path[0]), "type")
        if kind[0] in ("provider", "framework"):
            name = layers.values[kind[0]]["type"]
            yield (
                f"{layers.origin(kind)}: {dotted(kind)}: the {kind[0]} {name!r} has no key {dotted(lock.path[1:])}, "
                f"which is {lock}"
            )
            continue
        inside = tree.find(lock.path[:-1])
        near = nearest(str(lock.path[-1]), inside[1].names()) if inside else None
        hint = f"; did you mean {near}?" if near else ""
        yield f"{where}: {lock.owner} locks a key that does not exist{hint}"
