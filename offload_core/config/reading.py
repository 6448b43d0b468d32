"""Makes the typed tables of a configuration from its laid layers, with where each value is from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from ..errors import ConfigError, PluginError
from ..suggestion import did_you_mean
from .annotations import arms, fields_of, is_mapping, keys_of
from .assembly import Assembled
from .documents import MISSING, EnvironmentText, plain
from .expansion import ExpansionError, expand
from .keys import DEFAULT, KeyPath, Layer, Origin, dotted
from .layers import Layers
from .problems import Problems, located
from .schema import Config, GroupTable
from .structure import Findings, found_words, structure

_TABLES = tuple(each.name for each in fields_of(Config))
_REQUIRED = tuple(each.name for each in fields_of(Config) if each.default is attrs.NOTHING)
_PLUGINS = ("provider", "framework")
_GROUPS_EXAMPLE = "[groups.all]\nretry_count = 1\n"


@define
class Reader:
    """One pass over the laid layers; collects problems, so that one message names them all.

    Attributes:
        path: of the configuration file.
        environ: for `${…}` in `[provider.env]`.
        plugins: the classes of the provider and of the framework; known when the configuration is.
        provenance: for each key by its dotted path, where its value was set.
        warnings: sentences that the user should see.
    """

    path: Path
    assembled: Assembled
    environ: Mapping[str, str]
    plugins: dict[str, Any] = field(factory=dict, init=False)
    provenance: dict[str, Origin] = field(factory=dict, init=False)
    warnings: list[str] = field(factory=list, init=False)
    _findings: Findings = field(factory=Findings, init=False)

    def config(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: tables are missing, or values are wrong.
            PluginError: the provider or the framework does not load.
        """
        self._check_tables()
        self._findings.unknown += [((name,), _TABLES) for name in self._layers.values if name not in _TABLES]
        self.plugins = plugins = {table: self._plugin(table) for table in _PLUGINS}
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
        self._problems().refuse()
        if plugins["provider"].needs_sandbox_root and not tables["offload"].sandbox_project_root:
            raise ConfigError(
                f"{self.path}: this provider needs offload.sandbox_repo_root or offload.sandbox_project_root: where "
                "the repository or the project is in a sandbox"
            )
        self._warn_unknown()
        return Config(**tables)

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
        self._problems().refuse()

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
        made = structure(cls, {} if raw is MISSING else raw, where, self._findings)
        self._note(cls, made, where)
        self._warn_inert(cls, where)
        return made

    def _plugin_table(self, name: str, cls: type, options_class: type) -> Any:
        """The core's keys and the plugin's stand in one table."""
        raw: dict[str, Any] = self._layers.values[name]
        own = [each for each in keys_of(cls) if each != "options"]
        options = structure(options_class, raw, (name,), self._findings, also=own)
        self._note(options_class, options, (name,))
        self._warn_inert(options_class, (name,))
        ours = {key: value for key, value in raw.items() if key in own}
        table = structure(cls, {**ours, "options": options}, (name,), self._findings)
        self._note(cls, table, (name,), skip="options")
        return table

    def _group(self, name: str) -> Any:
        where: KeyPath = ("groups", name)
        raw = self._layers.get(where)
        if not isinstance(plain(raw), dict):
            self._expected_table(where, raw, f"; a group looks like\n\n{_GROUPS_EXAMPLE}")
            return None
        if self._layers.origin(where).layer is Layer.ENVIRONMENT:
            self._findings.problems.append((where, "the configuration has no such group"))
        return self._table(where, GroupTable)

    def _expected_table(self, where: KeyPath, found: Any, hint: str = "") -> None:
        self._findings.problems.append((where, f"expected a table, found {found_words(found)}{hint}"))

    def _note(self, cls: type, made: Any, where: KeyPath, skip: str = "") -> None:
        for each in attrs.fields(cls) if made is not None else ():
            if each.name == skip:
                continue
            key: KeyPath = (*where, each.name)
            used = self._findings.used.get(key)
            self.provenance[dotted(key)] = self._layers.origin(used) if used else DEFAULT
            value = getattr(made, each.name)
            if used and isinstance(value, Mapping):
                for name in value:
                    self.provenance[dotted((*key, name))] = self._layers.origin((*used, name))

    def _warn_inert(self, cls: type, where: KeyPath) -> None:
        inert = {each.name: each.metadata.get("inert") for each in attrs.fields(cls)}
        if inert and all(inert.values()):
            if self._layers.get(where) is not MISSING:
                self._warn_no_effect(where, next(iter(inert.values())))
            return
        for name, why in inert.items():
            used = self._findings.used.get((*where, name))
            if used and why:
                self._warn_no_effect(used, why)

    def _warn_no_effect(self, where: KeyPath, why: str) -> None:
        self.warnings.append(f"{dotted(where)} has no effect: {why} ({self._layers.origin(where)})")

    def _warn_unknown(self) -> None:
        for where, known in self._findings.unknown:
            place = f"{self._layers.origin(where)}{did_you_mean(str(where[-1]), known)}"
            self.warnings.append(f"Ignoring unrecognized config key: {dotted(where)} ({place})")

    def _must_be_known(self, where: KeyPath) -> bool:
        """Elsewhere an unknown key is a warning; a policy that is not understood must not be half in force."""
        # an option that is not locked goes with the plugin, and that may be another one than the policy's
        keys = [where, (where[0], "type")] if where[0] in _PLUGINS else [where]
        return all(self._layers.origin(key).layer is Layer.POLICY for key in keys)

    def _origin(self, where: KeyPath) -> Origin | str:
        """Where a value was set; of a key that nobody set, the file, in which it should be."""
        origin = self._layers.origin(where)
        return str(self.path) if origin is DEFAULT else origin

    def _problems(self) -> Problems:
        problems = Problems()
        for where, words in self._findings.problems:
            problems.add(self._origin(where), where, words)
        return problems
