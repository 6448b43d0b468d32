"""Providers, frameworks and runners that are installed. The only module that knows stevedore.

A provider or framework is a class behind an entry point; the entry point's name is the `type` in the configuration. A
runner is the path of a TOML file behind one. A run loads only what it names: using one provider never imports another's
SDK. Nothing that goes wrong while loading is swallowed.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from typing import Any

import attrs
from attrs import frozen
from typing_extensions import override

from . import __version__
from .abc import CONTRACT, OLDEST_CONTRACT, Framework, Provider
from .errors import PluginError
from .suggestion import did_you_mean

PROVIDERS = "offload.providers"
FRAMEWORKS = "offload.frameworks"
RUNNERS = "offload.runners"

_NOUNS = {PROVIDERS: "provider", FRAMEWORKS: "framework", RUNNERS: "runner"}
_BASES: dict[str, type] = {PROVIDERS: Provider, FRAMEWORKS: Framework, RUNNERS: Traversable}
_PACKAGES = {"default": "offload-command"}
_INSTALLABLE = re.compile(r"[a-z0-9-]+")


@frozen(kw_only=True)
class Plugin:
    """An entry point and where it comes from.

    Attributes:
        name: what the configuration calls it.
        target: `module:Class`.
        distribution: the package that registers it.
        version: of that package.
        error: why it cannot be used; empty if it can.
    """

    name: str
    target: str
    distribution: str
    version: str
    error: str = ""


def load_provider_class(name: str) -> type[Provider[Any]]:
    """The class of an installed provider. Imports that provider and no other.

    Raises:
        PluginError: it is not installed, two distributions claim the name, or its package does not load.
    """
    loaded: type[Provider[Any]] = _load(_claims(PROVIDERS, name))
    return loaded


def load_framework_class(name: str) -> type[Framework[Any]]:
    """The class of an installed framework. Imports that framework and no other.

    Raises:
        PluginError: as for `load_provider_class`.
    """
    loaded: type[Framework[Any]] = _load(_claims(FRAMEWORKS, name))
    return loaded


def load_runner_file(name: str) -> Traversable:
    """The TOML file in which an installed package defines the runner of this name. Imports that package and no other.

    Raises:
        PluginError: as for `load_provider_class`.
    """
    loaded: Traversable = _load(_claims(RUNNERS, name))
    return loaded


def distributions(namespace: str, name: str) -> tuple[str, ...]:
    """The distributions that register a name, with their versions. Loads nothing."""
    return tuple(" ".join(_origin(entry)) for entry in _entries(namespace) if entry.name == name)


def installed(namespace: str) -> tuple[Plugin, ...]:
    """Every plugin of a namespace, sorted by name, each loaded in isolation; a broken one carries the reason."""
    entries = _entries(namespace)
    return tuple(_inspect(entry, [each for each in entries if each.name == entry.name]) for entry in entries)


def names(namespace: str) -> tuple[str, ...]:
    """The names that a namespace has, sorted. Loads nothing, so some may be broken."""
    return tuple(dict.fromkeys(entry.name for entry in _entries(namespace)))


def _entries(namespace: str) -> list[EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=namespace), key=lambda entry: (entry.name, _origin(entry)))


def _inspect(entry: EntryPoint, claims: list[EntryPoint]) -> Plugin:
    error = ""
    try:
        _load(claims)
    except PluginError as broken:
        cause = f" ({type(broken.__cause__).__name__}: {broken.__cause__})" if broken.__cause__ else ""
        error = f"{broken}{cause}"
    distribution, version = _origin(entry)
    return Plugin(name=entry.name, target=entry.value, distribution=distribution, version=version, error=error)


def _claims(namespace: str, name: str) -> list[EntryPoint]:
    claims = [entry for entry in _entries(namespace) if entry.name == name]
    if not claims:
        raise PluginError(_not_installed(namespace, name))
    return claims


def _load(claims: list[EntryPoint]) -> Any:
    from stevedore.driver import DriverManager

    entry, *others = claims
    what = f"the {_NOUNS[entry.group]} {entry.name!r}"
    if others:
        who = " and ".join(f"{' '.join(_origin(each))} ({each.value})" for each in claims)
        raise PluginError(f"{what} is claimed by {who}: uninstall one of them")

    class One(DriverManager):  # type: ignore[type-arg]  # it is generic only in newer versions
        """Loads the entry point that was chosen, instead of searching again by name, which hides who it belongs to."""

        @override
        def list_entry_points(self) -> list[EntryPoint]:
            return [entry]

    what += f" of {' '.join(_origin(entry))}"
    try:
        loaded = One(entry.group, entry.name, on_load_failure_callback=_reraise).extensions[0].plugin
    except (Exception, SystemExit) as error:
        hint = _missing_of_ours(error)
        raise PluginError(f"{what} does not load from {entry.value!r}{hint}") from error
    if wrong := _wrong(loaded, _BASES[entry.group]):
        raise PluginError(f"{what} is no plugin: {entry.value!r} {wrong}")
    if unusable := _unusable(getattr(loaded, "contract", OLDEST_CONTRACT)):
        raise PluginError(f"{what} cannot be used: {unusable}")
    return loaded


def _missing_of_ours(error: BaseException) -> str:
    """What to do if a package asks for what this version of Offload does not have."""
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == __package__:
        return f": it needs another version of offload-core than {__version__}, which is installed; try to upgrade both"
    return ""


def _unusable(contract: object) -> str:
    """Why a plugin of this version of the contracts cannot be used; empty if it can."""
    if isinstance(contract, bool) or not isinstance(contract, int):
        return f"its `contract` is {contract!r}, and must be a whole number"
    if contract > CONTRACT:
        return (
            f"it was made for version {contract} of the contracts, and offload-core {__version__} has {CONTRACT}: "
            "upgrade offload-core"
        )
    if contract < OLDEST_CONTRACT:
        return (
            f"it was made for version {contract} of the contracts, and offload-core {__version__} keeps none before "
            f"{OLDEST_CONTRACT}: upgrade the package"
        )
    return ""


def _wrong(loaded: object, base: type) -> str:
    if base is Traversable:
        is_path = isinstance(loaded, base) and not isinstance(loaded, type)
        return "" if is_path else "is not the path of a file (pathlib, or importlib.resources.files)"
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        return f"is not a subclass of {base.__module__.partition('._')[0]}.{base.__name__}"
    if inspect.isabstract(loaded):
        return f"does not implement {', '.join(sorted(getattr(loaded, '__abstractmethods__', ())))}"
    if not attrs.has(getattr(loaded, "Options", None) or object):
        return "has no attrs class `Options`"
    return ""


def _reraise(manager: object, entry: EntryPoint, error: BaseException) -> None:
    raise error


def _origin(entry: EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "an unknown distribution", ""
    return entry.dist.name, entry.dist.version


def _not_installed(namespace: str, name: str) -> str:
    noun, available = _NOUNS[namespace], names(namespace)
    hint = did_you_mean(name, available, "; did you mean '{}'?") or "."
    words = f"the {noun} {name!r} is not installed{hint} Installed {noun}s: {', '.join(available) or 'none'}."
    if namespace == PROVIDERS and name in _PACKAGES:
        words += f" Its package: pip install {_PACKAGES[name]}"
    elif namespace == PROVIDERS and _INSTALLABLE.fullmatch(name):
        words += f" By convention a provider's package is named after it: pip install offload-{name}"
    return words
