"""From a file, the environment and the command line to a `Config`: types, checks, and where values are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen

from ..abc import Framework, Provider
from ..errors import ConfigError, PluginError
from ..suggestion import did_you_mean
from .annotations import arms, fields_of, is_mapping, keys_of
from .assembly import Assembled, assemble
from .documents import MISSING, Document, EnvironmentText, document, plain, read
from .expansion import ExpansionError, expand
from .keys import DEFAULT, KeyPath, Layer, Origin, dotted, located, refuse
from .layers import Layers
from .schema import DEFAULT_FILE, PLUGIN_TABLES, Config, GroupTable
from .secrets import config_hash
from .structure import Findings, found_words, structure

_TABLES = tuple(each.name for each in fields_of(Config))
_REQUIRED = tuple(each.name for each in fields_of(Config) if each.default is attrs.NOTHING)
_GROUPS_EXAMPLE = "[groups.all]\nretry_count = 1\n"


@frozen(kw_only=True)
class Loaded:
    """A configuration, and what is known about it.

    Attributes:
        path: the file it is from.
        project_dir: the directory on the host that the run is about, absolute.
        provider_class: the provider that it names.
        framework_class: the framework that it names.
        provenance: for each key by its dotted path, where its value was set.
        warnings: sentences that the user should see.
        hash: of all effective values but secrets; equal configurations have equal hashes, whatever the layers.
        assembled: what the values were made of: every layer's, the locks on them, the runner and the policy.
    """

    config: Config
    path: Path
    project_dir: Path
    provider_class: type[Provider[Any]]
    framework_class: type[Framework[Any]]
    provenance: Mapping[str, Origin]
    warnings: tuple[str, ...]
    hash: str
    assembled: Assembled

    @property
    def output_dir(self) -> Path:
        """`[report] output_dir`, absolute."""
        return self.path.absolute().parent / self.config.report.output_dir

    @property
    def history_path(self) -> Path | None:
        """`[history] path`, absolute; None without the table."""
        history = self.config.history
        return self.path.absolute().parent / history.path if history else None


def load(
    path: Path | None = None, *, environ: Mapping[str, str] | None = None, overrides: Sequence[Document] = ()
) -> Loaded:
    """Read a configuration file and everything that is laid over it.

    Args:
        path: the file; by default `offload.toml` in the current directory.
        environ: for `OFFLOAD_<TABLE>__<KEY>`, `OFFLOAD_RUNNERS`, and for `${…}` in `[provider.env]`.
        overrides: from the command line, the strongest layer; also options that are no keys, but do what a key says.

    Raises:
        ConfigError: no such file, not TOML, wrong types or values, a key that is locked; says which key in which file
            and line.
        PluginError: the provider, framework or runner that it names cannot be used.
    """
    path = path or Path(DEFAULT_FILE)
    try:
        text = read(path)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {path}: `offload init` writes one, `-c FILE` names another"
        ) from None
    return parse(text, path, environ=environ, overrides=overrides)


def parse(
    text: str, path: Path, *, environ: Mapping[str, str] | None = None, overrides: Sequence[Document] = ()
) -> Loaded:
    """As `load`, of the text of a file that stands at `path`."""
    environ = environ or {}
    assembled = assemble(document(text, str(path), Layer.FILE), environ, overrides)
    reader = _Reader(path, assembled, environ)
    config = reader.config()
    return Loaded(
        config=config,
        path=path,
        project_dir=_project_dir(path, config, assembled),
        provider_class=reader.plugins["provider"],
        framework_class=reader.plugins["framework"],
        provenance=reader.provenance,
        warnings=reader.warnings,
        hash=config_hash(config, environ),
        assembled=assembled,
    )


def _project_dir(path: Path, config: Config, assembled: Assembled) -> Path:
    directory = path.absolute().parent / (config.offload.working_dir or "")
    if config.offload.working_dir is not None and not directory.is_dir():
        where: KeyPath = ("offload", "working_dir")
        words = f"there is no directory {directory}"
        raise ConfigError(located(assembled.layers.at(where), where, words))
    return directory


@define
class _Reader:
    """One pass over the laid layers; collects problems, so that one message names them all.

    Attributes:
        path: of the configuration file.
        environ: for `${…}` in `[provider.env]`.
        plugins: the classes of the provider and of the framework; known when the configuration is.
    """

    path: Path
    assembled: Assembled
    environ: Mapping[str, str]
    plugins: dict[str, Any] = field(factory=dict, init=False)
    _findings: Findings = field(factory=Findings, init=False)

    def config(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: tables are missing, or values are wrong.
            PluginError: the provider or the framework does not load.
        """
        self._check_tables()
        self._findings.unknown += [((name,), _TABLES) for name in self._layers.values if name not in _TABLES]
        self.plugins = plugins = {table: self._plugin(table) for table in PLUGIN_TABLES}
        self._expand_provider_env()
        tables: dict[str, Any] = {}
        for each in fields_of(Config):
            [cls] = arms(each.type)
            if each.name in plugins:
                tables[each.name] = self._plugin_table(each.name, cls, plugins[each.name].Options)
            elif is_mapping(cls):
                tables[each.name] = {name: self._group(name) for name in self._layers.values[each.name]}
            elif each.default is None and each.name not in self._layers.values:
                tables[each.name] = None
            else:
                tables[each.name] = self._table((each.name,), cls)
        self._findings.refuse_unknown(self._must_be_known)
        self._refuse_problems()
        if plugins["provider"].needs_sandbox_root and not tables["offload"].sandbox_project_root:
            raise ConfigError(
                f"{self.path}: this provider needs offload.sandbox_repo_root or offload.sandbox_project_root: where "
                "the repository or the project is in a sandbox"
            )
        return Config(**tables)

    @property
    def provenance(self) -> dict[str, Origin]:
        """For each key by its dotted path, where its value was set."""
        used = self._findings.used
        return {dotted(key): self._layers.at(path) if path else DEFAULT for key, path in used.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that the user should see."""
        origin = self._layers.at
        inert = [f"{dotted(where)} has no effect: {why} ({origin(where)})" for where, why in self._findings.inert]
        unknown = [
            f"Ignoring unrecognized config key: {dotted(where)} ({origin(where)}{did_you_mean(str(where[-1]), known)})"
            for where, known in self._findings.unknown
        ]
        return (*inert, *unknown)

    @property
    def _layers(self) -> Layers:
        return self.assembled.layers

    def _check_tables(self) -> None:
        values = self._layers.values
        missing = [f"[{name}]" for name in _REQUIRED if name not in values]
        if missing == ["[groups]"] or values.get("groups") == {}:
            raise ConfigError(
                f"{self.path}: [groups] must define at least one group, for example:\n\n{_GROUPS_EXAMPLE}"
            )
        if missing:
            required = ", ".join(f"[{name}]" for name in _REQUIRED)
            raise ConfigError(f"{self.path}: missing {' and '.join(missing)}: every configuration has {required}")
        for name in _TABLES:
            if not isinstance(plain(values.get(name, {})), dict):
                self._expected_table((name,), values[name])
        self._refuse_problems()

    def _plugin(self, table: str) -> Any:
        where: KeyPath = (table, "type")
        name, found = self._layers.get(where), getattr(self.assembled, table)
        if name is MISSING:
            words = f"required, but not set (`offload providers` lists the {table}s)"
        elif not isinstance(name, str):
            words = f"expected a string, found {found_words(name)}"
        elif isinstance(found, PluginError):
            raise PluginError(located(self._origin(where), where, str(found))) from found.__cause__
        else:
            return found
        raise ConfigError(located(self._origin(where), where, words))

    def _expand_provider_env(self) -> None:
        variables = self._layers.get(("provider", "env"))
        for name, value in variables.items() if isinstance(variables, dict) else ():
            if not isinstance(value, str) or isinstance(value, EnvironmentText):
                continue
            try:
                variables[name] = expand(value, self.environ)
            except ExpansionError as error:
                self._findings.problems.append((("provider", "env", name), str(error)))

    def _table(self, where: KeyPath, cls: type) -> Any:
        raw = self._layers.get(where)
        return structure(cls, {} if raw is MISSING else raw, where, self._findings)

    def _plugin_table(self, name: str, cls: type, options_class: type) -> Any:
        """The core's keys and the plugin's stand in one table."""
        raw: dict[str, Any] = self._layers.values[name]
        own = keys_of(cls)
        options = structure(options_class, raw, (name,), self._findings, also=own)
        table: Any = structure(cls, {key: raw[key] for key in raw if key in own}, (name,), self._findings)
        return table and attrs.evolve(table, options=options)

    def _group(self, name: str) -> Any:
        where: KeyPath = ("groups", name)
        raw = self._layers.get(where)
        if not isinstance(plain(raw), dict):
            self._expected_table(where, raw, f"; a group looks like\n\n{_GROUPS_EXAMPLE}")
            return None
        if self._layers.at(where).layer is Layer.ENVIRONMENT:
            self._findings.problems.append((where, "the configuration has no such group"))
        return self._table(where, GroupTable)

    def _expected_table(self, where: KeyPath, found: Any, hint: str = "") -> None:
        self._findings.problems.append((where, f"expected a table, found {found_words(found)}{hint}"))

    def _must_be_known(self, where: KeyPath) -> bool:
        """Elsewhere an unknown key is a warning; a policy that is not understood must not be half in force."""
        # an option that is not locked goes with the plugin, and that may be another one than the policy's
        keys = [where, (where[0], "type")] if where[0] in PLUGIN_TABLES else [where]
        return all(self._layers.at(key).layer is Layer.POLICY for key in keys)

    def _origin(self, where: KeyPath) -> Origin | str:
        """Where a value was set; of a key that nobody set, the file, in which it should be."""
        origin = self._layers.at(where)
        return str(self.path) if origin is DEFAULT else origin

    def _refuse_problems(self) -> None:
        refuse(located(self._origin(where), where, words) for where, words in self._findings.problems)
