"""Where runners are defined, and which definition of a name counts.

Weakest first: installed packages, the system's and the user's configuration directories, what `OFFLOAD_RUNNERS` names,
the project's own file. The policy's runners stand apart: no other place can define one of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path as HostPath

from attrs import field, frozen

from .. import plugins
from ..errors import ConfigError, PluginError
from .documents import Document, document, read
from .layers import Layer, Origin, dotted
from .runners import VARIABLE, Place, Runner, definitions
from .structure import nearest

FILE = "runners.toml"
"""In the configuration directories of the system and the user."""


@frozen(slots=False)
class Files:
    """A file, or a folder whose `*.toml` files are read in the order of their names."""

    place: Place
    path: HostPath
    required: bool = False

    @cached_property
    def runners(self) -> Mapping[str, Runner]:
        """The definitions, by name.

        Raises:
            ConfigError: a file cannot be used, or two of them define one name.
        """
        found: dict[str, Runner] = {}
        for path in self._paths():
            for runner in definitions(self._document(path), self.place, str(path)):
                if runner.name in found:
                    raise ConfigError(
                        f"{runner.origin}: runners.{runner.name}: defined at {found[runner.name].origin} already"
                    )
                found[runner.name] = runner
        return found

    def _paths(self) -> Iterable[HostPath]:
        try:
            if self.path.is_dir():
                return sorted(each for each in self.path.iterdir() if each.suffix == ".toml")
        except OSError as error:
            raise ConfigError(f"{self.place}: {self.path} could not be read: {error.strerror or error}") from None
        return [self.path]

    def _document(self, path: HostPath) -> Document:
        layer = Layer.POLICY if self.place is Place.POLICY else Layer.RUNNER
        try:
            text = read(path)
        except FileNotFoundError:
            if self.required or path.is_symlink():
                raise ConfigError(f"{self.place}: there is no file or folder {path}") from None
            return Document({}, Origin(layer, str(path)))
        found = document(text, str(path), layer)
        strays = [name for name in found.values if name != "runners"]
        if strays:
            raise ConfigError(
                f"{found.at((strays[0],))}: {strays[0]}: a file of runners has only tables [runners.NAME] and those "
                "in them, such as [runners.NAME.offload]"
            )
        return found

    def names(self) -> Iterable[str]:
        """The names that it defines."""
        return self.runners

    def get(self, name: str) -> Runner | None:
        """The definition of a name, if there is one."""
        return self.runners.get(name)

    def claims(self, name: str) -> Iterable[str]:
        """Who defines a name, in words."""
        return [f"{self.runners[name].origin}: runners.{name}"] if name in self.runners else []


@frozen(slots=False)
class Given(Files):
    """Definitions that stand in a document which has been read already."""

    given: Document = field(kw_only=True)

    @cached_property
    def runners(self) -> Mapping[str, Runner]:
        """The definitions, by name."""
        return {runner.name: runner for runner in definitions(self.given, self.place, str(self.path))}


class Packages:
    """What is installed: an entry point of `offload.runners` has the runner's name, and is the path of a TOML file."""

    place = Place.PACKAGE

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
        [distribution] = plugins.distributions(plugins.RUNNERS, name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, of {distribution}, could not be read: {error}") from None
        found = document(text, str(path), Layer.RUNNER)
        for runner in definitions(found, self.place, distribution):
            if runner.name == name:
                return runner
        raise ConfigError(f"{path}, of {distribution}, does not define [runners.{name}], as its entry point says")

    def claims(self, name: str) -> Iterable[str]:
        """Who defines a name, in words."""
        return [f"the package {each}" for each in plugins.distributions(plugins.RUNNERS, name)]


Source = Files | Packages


def sources(environ: Mapping[str, str], project: Document | None) -> tuple[Source, ...]:
    """Every place but the policy, strongest first. Nothing is read yet."""
    found: list[Source] = []
    if project is not None:
        path = HostPath(project.origin.source)
        found.append(Given(Place.PROJECT, path, given=project.laid_as(Layer.RUNNER)))
    if environ.get(VARIABLE):
        found.append(Files(Place.VARIABLE, HostPath(environ[VARIABLE]), required=True))
    found += _directories()
    found.append(Packages())
    return tuple(found)


def _directories() -> Iterator[Files]:
    from platformdirs import PlatformDirs

    directories = PlatformDirs("offload", appauthor=False, multipath=True)
    user = directories.user_config_path
    yield Files(Place.USER, user / FILE)
    for directory in directories.iter_config_paths():
        if directory != user:
            yield Files(Place.SYSTEM, directory / FILE)


@frozen
class Listed:
    """A definition, for people.

    Attributes:
        where: the file and line, or the package.
        note: why it is not used, or cannot be.
        runner: None if it cannot be read.
    """

    name: str
    place: Place
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

    sources: tuple[Source, ...]
    policy: tuple[Files, ...] = ()

    def check_project(self) -> None:
        """Read the project's own runners, whether one of them is used or not.

        Raises:
            ConfigError: one of them is wrong; says where.
        """
        for source in self.sources:
            if source.place is Place.PROJECT:
                source.names()

    def chain(self, name: str, asked: str, *, only_policy: bool = False) -> tuple[Runner, ...]:
        """A runner and all that it extends, the base of all first.

        What a runner extends is looked up where the runner itself is defined, and in weaker places: a project can
        build on a runner of its organization, but not put another base under it.

        Args:
            asked: who asks for it, in words, for messages.
            only_policy: whether no other place than the policy counts.
        Raises:
            ConfigError: a name that is not defined, or a cycle; shows the chain. Or a definition that must not be.
            PluginError: a package that defines one of them does not load.
        """
        found: list[Runner] = []
        weaker = self.sources
        wanted: str | None = name
        while wanted is not None:
            shown = " -> ".join([asked, *map(str, found), wanted])
            if any(each.name == wanted for each in found):
                raise ConfigError(f"{found[-1].origin}: the runner {wanted!r} extends itself: {shown}")
            source, runner = _first((*self.policy, *weaker), wanted)
            if runner is None or (only_policy and runner.place is not Place.POLICY):
                raise ConfigError(self._missing(wanted, shown, only_policy, runner))
            self._refuse_claims(runner)
            if runner.place is Place.POLICY:
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
                listed.append(Listed("?", source.place, str(error)))
                continue
            for name in names:
                where = "; ".join(source.claims(name))
                note = f"not used: replaced by the one of {counting[name]}" if name in counting else ""
                runner = None
                try:
                    runner = source.get(name)
                    self.chain(name, "listed")
                except (ConfigError, PluginError) as error:
                    note = f"broken: {error}" + (f" ({error.__cause__})" if error.__cause__ else "")
                listed.append(Listed(name, source.place, f"{source.place}: {where}", note, runner))
                counting.setdefault(name, f"the {source.place}")
        return tuple(listed)

    def _refuse_claims(self, runner: Runner) -> None:
        """Definitions that would replace one which must not be replaced are errors, whether they would count or not."""
        if runner.place is Place.POLICY:
            claims = [claim for source in self.sources for claim in source.claims(runner.name)]
            if claims:
                raise ConfigError(
                    "\n".join(
                        f"{claim}: the policy defines the runner {runner.name!r} ({runner.origin}), and no other place "
                        f"may{_because(runner)}"
                        for claim in claims
                    )
                )
        if runner.place is Place.PROJECT:
            weaker = Catalog(tuple(each for each in self.sources if each.place is not Place.PROJECT))
            replaced = _first(weaker.sources, runner.name)[1]
            for locked in weaker.chain(runner.name, str(runner)) if replaced else ():
                for lock in locked.locks:
                    raise ConfigError(
                        f"{runner.origin}: runners.{runner.name}: {dotted(lock.path)} is {lock}. Another definition "
                        "of the runner would take that away; give it a name of its own"
                    )

    def _missing(self, name: str, shown: str, only_policy: bool, runner: Runner | None) -> str:
        if only_policy:
            where = f" (the one at {runner.origin} does not count)" if runner else ""
            return (
                f"there is no runner {name!r} in the policy{where}: {shown}. A runner that the policy locks, or that "
                "extends one of its own, has to stand in the policy or in what its `runners` names"
            )
        known = sorted({each for source in (*self.policy, *self.sources) for each in source.names()})
        near = nearest(name, known)
        hint = f" Did you mean {near!r}?" if near else ""
        return f"there is no runner {name!r}: {shown}.{hint} Defined are: {', '.join(known) or 'none'}"


def _first(places: Iterable[Source], name: str) -> tuple[Source | None, Runner | None]:
    for source in places:
        runner = source.get(name)
        if runner is not None:
            return source, runner
    return None, None


def _because(runner: Runner) -> str:
    return f": {runner.table.lock_reason}" if runner.table.lock_reason else ""
