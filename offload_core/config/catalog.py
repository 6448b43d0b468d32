"""Where runners are defined, and which definition of a name counts.

Weakest first: installed packages, the system's and the user's configuration directories, what `OFFLOAD_RUNNERS` names,
the project's own file. The policy's runners stand apart: no other place can define one of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from attrs import frozen
from platformdirs import PlatformDirs

from .. import plugins
from ..errors import ConfigError, PluginError
from ..suggestion import did_you_mean
from .documents import Document, document, read
from .gate import Gate
from .keys import Layer, Origin
from .runners import VARIABLE, Runner, Tier, by_name, definitions

FILE = "runners.toml"
"""In the configuration directories of the system and the user."""


@frozen(slots=False)
class RunnerFiles:
    """A file, or a folder whose `*.toml` files are read in the order of their names.

    Attributes:
        required: whether it is an error if there is none.
        given: of the file, if it has been read already.
    """

    tier: Tier
    path: Path
    required: bool = False
    given: Document | None = None

    @cached_property
    def runners(self) -> Mapping[str, Runner]:
        """The definitions, by name.

        Raises:
            ConfigError: a file cannot be used, or two of them define one name.
        """
        found = [self.given] if self.given else map(self._read, self._paths())
        return by_name(runner for each in found for runner in definitions(each, self.tier))

    def names(self) -> Iterable[str]:
        """Those that it defines."""
        return self.runners

    def get(self, name: str) -> Runner | None:
        """The definition of a name, if there is one."""
        return self.runners.get(name)

    def claims(self, name: str) -> Iterable[str]:
        """Who defines a name, in words."""
        return [f"{self.runners[name].origin}: runners.{name}"] if name in self.runners else []

    def _paths(self) -> Iterable[Path]:
        try:
            if self.path.is_dir():
                return sorted(each for each in self.path.iterdir() if each.suffix == ".toml")
        except OSError as error:
            raise ConfigError(f"{self.tier}: {self.path} could not be read: {error.strerror or error}") from None
        return [self.path]

    def _read(self, path: Path) -> Document:
        layer = Layer.POLICY if self.tier is Tier.POLICY else Layer.RUNNER
        try:
            text = read(path)
        except FileNotFoundError:
            if self.required or path.is_symlink():
                raise ConfigError(f"{self.tier}: there is no file or folder {path}") from None
            return Document({}, Origin(layer, str(path)))
        found = document(text, str(path), layer)
        for stray in found.without("runners").values:
            words = "a file of runners has only tables [runners.NAME] and those in them, such as [runners.NAME.offload]"
            raise found.error((stray,), words)
        return found


class RunnerPackages:
    """What is installed: an entry point of `offload.runners` has the runner's name, and is the path of a TOML file."""

    tier = Tier.PACKAGE

    def names(self) -> Iterable[str]:
        """The names that packages claim. Loads none of them."""
        return plugins.names(plugins.RUNNERS)

    def get(self, name: str) -> Runner | None:
        """The definition of a name, if there is one.

        Raises:
            PluginError: its package does not load, or two claim the name.
            ConfigError: its file cannot be used.
        """
        if name not in self.names():
            return None
        path = plugins.load_runner_file(name)
        [distribution] = self._distributions(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, of {distribution}, could not be read: {error}") from None
        for runner in definitions(document(text, str(path), Layer.RUNNER), self.tier):
            if runner.name == name:
                return runner
        raise ConfigError(f"{path}, of {distribution}, does not define [runners.{name}], as its entry point says")

    def claims(self, name: str) -> Iterable[str]:
        """Who defines a name, in words."""
        return [f"the package {each}" for each in self._distributions(name)]

    def _distributions(self, name: str) -> tuple[str, ...]:
        return plugins.distributions(plugins.RUNNERS, name)


RunnerSource = RunnerFiles | RunnerPackages


def sources(environ: Mapping[str, str], project: Document | None) -> tuple[RunnerSource, ...]:
    """Every place but the policy, strongest first. Nothing is read yet."""
    found: list[RunnerSource] = []
    if project is not None:
        found.append(RunnerFiles(Tier.PROJECT, Path(project.origin.source), given=project.laid_as(Layer.RUNNER)))
    if environ.get(VARIABLE):
        found.append(RunnerFiles(Tier.VARIABLE, Path(environ[VARIABLE]), required=True))
    directories = PlatformDirs("offload", appauthor=False, multipath=True)
    user = directories.user_config_path
    system = [RunnerFiles(Tier.SYSTEM, each / FILE) for each in directories.iter_config_paths() if each != user]
    return (*found, RunnerFiles(Tier.USER, user / FILE), *system, RunnerPackages())


@frozen
class Listed:
    """A definition, for people.

    Attributes:
        where: the file and line, or the package.
        note: why it is not used, or cannot be.
        runner: None if it cannot be read.
    """

    name: str
    tier: Tier
    where: str
    note: str = ""
    runner: Runner | None = None


@frozen
class Catalog:
    """All places, and the rules by which a name is looked up in them.

    Attributes:
        sources: strongest first.
        policy: those that the policy vouches for.
    """

    sources: tuple[RunnerSource, ...]
    policy: tuple[RunnerFiles, ...] = ()

    def chain(self, name: str, asked: str, gate: Gate, *, only_policy: bool = False) -> tuple[Runner, ...]:
        """A runner and all that it extends, the base of all first.

        What a runner extends is looked up where the runner itself is defined, and in weaker places: a project can
        build on a runner of its organization, but not put another base under it.

        Args:
            asked: who asks for it, in words, for messages.
            gate: which every definition that is used passes.
            only_policy: whether no other place than the policy counts.

        Raises:
            ConfigError: a name that is not defined, or a cycle; shows the chain.
            PluginError: a package that defines one of them does not load.
        """
        found: list[Runner] = []
        weaker = self.sources
        wanted: str | None = name
        while wanted is not None:
            shown = " -> ".join([asked, *map(str, found), wanted])
            if any(each.name == wanted for each in found):
                gate.close()
                raise ConfigError(f"{found[-1].origin}: the runner {wanted!r} extends itself: {shown}")
            source, runner = _first((*self.policy, *weaker), wanted)
            if runner is None or (only_policy and runner.tier is not Tier.POLICY):
                gate.close()
                raise ConfigError(self._missing(wanted, shown, only_policy, runner))
            self._pass(runner, gate)
            if runner.tier is Tier.POLICY:
                only_policy = True
            else:
                weaker = weaker[weaker.index(source) :]
            found.append(runner)
            wanted = runner.table.extends
        return tuple(reversed(found))

    def listing(self) -> tuple[Listed, ...]:
        """Every definition in every place, what counts first; broken ones with the reason."""
        listed: list[Listed] = []
        counting: dict[str, str] = {}
        for source in (*self.policy, *self.sources):
            try:
                names = sorted(source.names())
            except ConfigError as error:
                listed.append(Listed("?", source.tier, str(error)))
                continue
            for name in names:
                where = "; ".join(source.claims(name))
                note = f"not used: replaced by the one of {counting[name]}" if name in counting else ""
                runner, gate = None, Gate()
                try:
                    runner = source.get(name)
                    if not note:
                        self.chain(name, "listed", gate)
                        gate.close()
                except (ConfigError, PluginError) as error:
                    note = f"broken: {error}" + (f" ({error.__cause__})" if error.__cause__ else "")
                listed.append(Listed(name, source.tier, f"{source.tier}: {where}", note, runner))
                counting.setdefault(name, f"the {source.tier}")
        return tuple(listed)

    def _pass(self, runner: Runner, gate: Gate) -> None:
        if runner.tier is Tier.POLICY:
            gate.pass_definition(
                runner, claims=[claim for source in self.sources for claim in source.claims(runner.name)]
            )
        elif runner.tier is Tier.PROJECT:
            weaker = Catalog(tuple(each for each in self.sources if each.tier is not Tier.PROJECT))
            if _first(weaker.sources, runner.name)[1] is not None:
                gate.pass_definition(runner, replaced=weaker.chain(runner.name, str(runner), gate))

    def _missing(self, name: str, shown: str, only_policy: bool, runner: Runner | None) -> str:
        if only_policy:
            where = f" (the one at {runner.origin} does not count)" if runner else ""
            return (
                f"there is no runner {name!r} in the policy{where}: {shown}. A runner that the policy locks, or that "
                "extends one of its own, has to stand in the policy or in what its `runners` names"
            )
        known = sorted({each for source in (*self.policy, *self.sources) for each in source.names()})
        hint = did_you_mean(name, known, " Did you mean '{}'?")
        return f"there is no runner {name!r}: {shown}.{hint} Defined are: {', '.join(known) or 'none'}"


def _first(sources: Iterable[RunnerSource], name: str) -> tuple[RunnerSource | None, Runner | None]:
    return next(((source, runner) for source in sources if (runner := source.get(name))), (None, None))
