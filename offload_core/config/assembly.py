"""Puts the layers of a configuration together: who says what, and in which order it passes the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from ..abc import Framework, Provider
from ..errors import ConfigError, PluginError
from ..plugins import load_framework_class, load_provider_class
from .catalog import Catalog, sources
from .documents import MISSING, Document, plain
from .gate import Gate
from .key_tree import key_tree
from .keys import Origin, located
from .layers import Layers, variables
from .locks import RUNNER_KEY, Locks
from .policy import Policy, read_policy
from .runners import Runner, Tier, definitions
from .structure import found_words

P = TypeVar("P")


@frozen(kw_only=True)
class Assembled:
    """All values, untyped, and by whose leave.

    Attributes:
        layers: the values with their origins.
        locks: what stronger layers could not set.
        runners: the runner that was selected, after all that it extends; empty without one.
        policy: of this machine.
        provider: the class that is configured; the error if it does not load, None if none is named.
        framework: likewise.
    """

    layers: Layers
    locks: Locks
    runners: tuple[Runner, ...]
    policy: Policy
    provider: type[Provider[Any]] | PluginError | None
    framework: type[Framework[Any]] | PluginError | None


def assemble(file: Document, environ: Mapping[str, str], overrides: Sequence[Document]) -> Assembled:
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
    gate = Gate(policy.values, policy.locks, environ)
    stronger = [file.without("runners"), *variables(environ), *overrides]
    known = Catalog(sources(environ, file), policy.runners)
    name, origin = _selected(gate, stronger)
    tuple(definitions(file, Tier.PROJECT))  # what is wrong with them is said, whether one of them is used or not
    only_policy = policy.locks.on(RUNNER_KEY) is not None
    runners = known.chain(name, str(origin), gate, only_policy=only_policy) if name else ()
    # what else there is to be set, and what an older name is, is known only from the plugins
    provider = _plugin_class(load_provider_class, gate.foresee(("provider", "type"), runners, stronger)[0])
    framework = _plugin_class(load_framework_class, gate.foresee(("framework", "type"), runners, stronger)[0])
    tree = key_tree(*(each if isinstance(each, type) else None for each in (provider, framework)))
    gate.lay(tree, runners, stronger)
    gate.complete(tree)
    gate.close()
    return Assembled(
        layers=gate.layers, locks=gate.locks, runners=runners, policy=policy, provider=provider, framework=framework
    )


def resolved(known: Catalog, name: str, asked: str) -> tuple[tuple[Runner, ...], Layers, Locks]:
    """A runner after all that it extends, and what they set and lock by themselves.

    Args:
        asked: who asks for it, in words, for messages.

    Raises:
        ConfigError: it is not defined, or one of them sets what another one locks.
        PluginError: the package of one of them does not load.
    """
    gate = Gate()
    runners = known.chain(name, asked, gate)
    gate.lay(key_tree(), runners)
    gate.close()
    return runners, gate.layers, gate.locks


def _selected(gate: Gate, documents: Sequence[Document]) -> tuple[str, Origin]:
    """The runner's name, or nothing, and who selects it.

    Raises:
        ConfigError: what selects it is no text.
    """
    name, origin = gate.foresee(RUNNER_KEY, (), documents)
    if name is not MISSING and not isinstance(name, str):
        raise ConfigError(located(origin, RUNNER_KEY, f"expected a string, found {found_words(name)}"))
    return _text(name) if isinstance(name, str) else "", origin


def _plugin_class(load: Callable[[str], type[P]], name: Any) -> type[P] | PluginError | None:
    """The class of a name. One that cannot be loaded is reported by whoever needs it."""
    try:
        return load(_text(name)) if isinstance(name, str) else None
    except PluginError as error:
        return error


def _text(name: str) -> str:
    """A variable's text may be quoted, as TOML would."""
    parsed = plain(name)
    return parsed if isinstance(parsed, str) else str(name)
