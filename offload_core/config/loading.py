"""From a file, the environment and the command line to a `Config`: types, checks, and where values are from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path as HostPath
from typing import Any

import attrs
from attrs import define, field, frozen

from ..abc import Framework, LivenessSettings, Provider
from ..errors import ConfigError, PluginError
from ..plugins import load_framework_class, load_provider_class
from .assembly import Assembled, assemble
from .documents import document, read
from .expansion import ExpansionError, expand
from .layers import DEFAULT, EnvironmentText, Layer, Layers, Origin, Override, Path, dotted
from .schema import (
    DEFAULT_FILE,
    CheckpointTable,
    Config,
    FrameworkTable,
    GroupTable,
    HistoryTable,
    OffloadTable,
    ProviderTable,
    ReportTable,
    RetryTable,
)
from .secrets import config_hash
from .structure import Findings, found_words, keys_of, nearest, plain, structure

REQUIRED = ("offload", "provider", "framework", "groups")
_TABLES = tuple(each.name for each in attrs.fields(Config))
_GROUPS_EXAMPLE = "[groups.all]\nretry_count = 1\n"


@frozen(kw_only=True)
class Loaded:
    """A configuration, and what is known about it.

    Attributes:
        path: the file it is from.
        project_dir: the directory on the host that the run is about, absolute.
        provider_class, framework_class: the plugins it names.
        provenance: for each key by its dotted path, where its value was set.
        warnings: sentences that the user should see.
        hash: of all effective values but secrets; equal configurations have equal hashes, whatever the layers.
        assembled: what the values were made of: every layer's, the locks on them, the runner and the policy.
    """

    config: Config
    path: HostPath
    project_dir: HostPath
    provider_class: type[Provider[Any]]
    framework_class: type[Framework[Any]]
    provenance: Mapping[str, Origin]
    warnings: tuple[str, ...]
    hash: str
    assembled: Assembled

    @property
    def output_dir(self) -> HostPath:
        """`[report] output_dir`, absolute."""
        return self.path.absolute().parent / self.config.report.output_dir

    @property
    def history_path(self) -> HostPath | None:
        """`[history] path`, absolute; None without the table."""
        history = self.config.history
        return self.path.absolute().parent / history.path if history else None


def load(
    path: HostPath | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[Override] = (),
) -> Loaded:
    """Read a configuration file and everything that is laid over it.

    Args:
        path: the file; by default `offload.toml` in the current directory.
        environ: for `OFFLOAD_<TABLE>__<KEY>`, `OFFLOAD_RUNNERS`, and for `${…}` in `[provider.env]`.
        overrides: from the command line, the strongest layer.

    Raises:
        ConfigError: no such file, not TOML, wrong types or values, a key that is locked; says which key in which file
            and line.
        PluginError: the provider, framework or runner that it names cannot be used.
    """
    path = path or HostPath(DEFAULT_FILE)
    try:
        text = read(path)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no configuration file {path}: `offload init` writes one, `-c FILE` names another"
        ) from None
    return parse(text, path, environ=environ or {}, overrides=overrides)


def parse(
    text: str, path: HostPath, *, environ: Mapping[str, str] | None = None, overrides: Sequence[Override] = ()
) -> Loaded:
    """As `load`, of the text of a file that stands at `path`."""
    environ = environ or {}
    assembled = assemble(document(text, str(path), Layer.FILE), environ, overrides)
    reading = _Reading(path, assembled, environ)
    config, provider_class, framework_class = reading.config()
    return Loaded(
        config=config,
        path=path,
        project_dir=reading.project_dir(config.offload),
        provider_class=provider_class,
        framework_class=framework_class,
        provenance=reading.provenance,
        warnings=tuple(reading.warnings),
        hash=config_hash(config, environ),
        assembled=assembled,
    )


@define
class _Reading:
    """One pass over the merged layers; collects problems, so that one message names them all."""

    path: HostPath
    assembled: Assembled
    environ: Mapping[str, str]
    findings: Findings = field(factory=Findings)
    provenance: dict[str, Origin] = field(factory=dict)
    warnings: list[str] = field(factory=list)

    @property
    def layers(self) -> Layers:
        return self.assembled.layers

    def config(self) -> tuple[Config, type[Provider[Any]], type[Framework[Any]]]:
        values = self.layers.values
        self._check_tables(values)
        self.findings.unknown += [((name,), _TABLES) for name in values if name not in _TABLES]
        provider_class = self._plugin("provider", load_provider_class)
        framework_class = self._plugin("framework", load_framework_class)
        self._expand_provider_env(values["provider"])
        tables: dict[str, Any] = {
            "offload": self._table("offload", OffloadTable),
            "provider": self._plugin_table("provider", ProviderTable, provider_class),
            "framework": self._plugin_table("framework", FrameworkTable, framework_class),
            "groups": {name: self._group(name) for name in values["groups"]},
            "report": self._table("report", ReportTable),
            "retry": self._table("retry", RetryTable),
            "liveness": self._table("liveness", LivenessSettings),
            "checkpoint": self._table("checkpoint", CheckpointTable) if "checkpoint" in values else None,
            "history": self._table("history", HistoryTable) if "history" in values else None,
        }
        self._refuse_unknown_of_policy()
        if self.findings.problems:
            raise ConfigError(self._problems(self.findings.problems))
        tables["offload"] = self._filled_roots(tables["offload"], provider_class)
        self._warn_unknown()
        return Config(**tables), provider_class, framework_class

    def project_dir(self, table: OffloadTable) -> HostPath:
        directory = self.path.absolute().parent
        if table.working_dir is None:
            return directory
        directory = directory / table.working_dir
        if not directory.is_dir():
            where = self.layers.origin(("offload", "working_dir"))
            raise ConfigError(f"{where}: offload.working_dir: there is no directory {directory}")
        return directory

    def _check_tables(self, values: Mapping[str, Any]) -> None:
        missing = [f"[{name}]" for name in REQUIRED if name not in values]
        if missing == ["[groups]"] or values.get("groups") == {}:
            raise ConfigError(
                f"{self.path}: [groups] must define at least one group, for example:\n\n{_GROUPS_EXAMPLE}"
            )
        if missing:
            required = ", ".join(f"[{name}]" for name in REQUIRED)
            raise ConfigError(f"{self.path}: missing {' and '.join(missing)}: every configuration has {required}")
        wrong = [((name,), values[name]) for name in _TABLES if not isinstance(plain(values.get(name, {})), dict)]
        if wrong:
            raise ConfigError(
                self._problems((where, f"expected a table, found {found_words(value)}") for where, value in wrong)
            )

    def _plugin(self, table: str, load_class: Callable[[str], Any]) -> Any:
        where: Path = (table, "type")
        if "type" not in self.layers.values[table]:
            raise ConfigError(
                self._problems([(where, f"required, but not set (`offload providers` lists the {table}s)")])
            )
        name = self.layers.values[table]["type"]
        if not isinstance(name, str):
            raise ConfigError(self._problems([(where, f"expected a string, found {found_words(name)}")]))
        try:
            return load_class(str(name))
        except PluginError as error:
            raise PluginError(self._problems([(where, str(error))])) from error.__cause__

    def _expand_provider_env(self, table: dict[str, Any]) -> None:
        variables = table.get("env")
        if not isinstance(variables, dict):
            return
        for name, value in variables.items():
            if not isinstance(value, str) or isinstance(value, EnvironmentText):
                continue
            try:
                variables[name] = expand(value, self.environ)
            except ExpansionError as error:
                self.findings.problems.append((("provider", "env", name), str(error)))

    def _table(self, name: str, cls: type) -> Any:
        made = structure(cls, self.layers.values.get(name, {}), (name,), self.findings)
        self._note(cls, made, (name,))
        self._warn_inert(cls, (name,))
        return made

    def _plugin_table(self, name: str, cls: type, plugin: type) -> Any:
        """The core's keys and the plugin's stand in one table."""
        raw: dict[str, Any] = self.layers.values[name]
        options_class = plugin.Options  # type: ignore[attr-defined]
        own = [each for each in keys_of(cls) if each != "options"]
        options = structure(options_class, raw, (name,), self.findings, also=own)
        self._note(options_class, options, (name,))
        self._warn_inert(options_class, (name,))
        ours = {key: value for key, value in raw.items() if key in own}
        table = structure(cls, {**ours, "options": options}, (name,), self.findings)
        self._note(cls, table, (name,), skip="options")
        return table

    def _group(self, name: str) -> Any:
        where: Path = ("groups", name)
        raw = plain(self.layers.values["groups"][name])
        if not isinstance(raw, dict):
            self.findings.problems.append(
                (where, f"expected a table, found {found_words(raw)}; a group looks like\n\n{_GROUPS_EXAMPLE}")
            )
            return None
        if self.layers.origin(where).layer is Layer.ENVIRONMENT:
            self.findings.problems.append((where, "the configuration has no such group"))
        made = structure(GroupTable, raw, where, self.findings)
        self._note(GroupTable, made, where)
        return made

    def _note(self, cls: type, made: Any, where: Path, skip: str = "") -> None:
        if made is None:
            return
        for each in attrs.fields(cls):
            if each.name == skip:
                continue
            key: Path = (*where, each.name)
            used = self.findings.used.get(key)
            self.provenance[dotted(key)] = self.layers.origin(used) if used else DEFAULT
            value = getattr(made, each.name)
            if used and isinstance(value, Mapping):
                for name in value:
                    self.provenance[dotted((*key, name))] = self.layers.origin((*used, name))

    def _warn_inert(self, cls: type, where: Path) -> None:
        fields = attrs.fields(cls)
        if fields and all(each.metadata.get("inert") for each in fields):
            if where[0] in self.layers.values:
                self._warn_no_effect(where, fields[0].metadata["inert"])
            return
        for each in fields:
            used = self.findings.used.get((*where, each.name))
            if used and each.metadata.get("inert"):
                self._warn_no_effect(used, each.metadata["inert"])

    def _warn_no_effect(self, where: Path, why: str) -> None:
        self.warnings.append(f"{dotted(where)} has no effect: {why} ({self.layers.origin(where)})")

    def _warn_unknown(self) -> None:
        for where, known in self.findings.unknown:
            near = nearest(str(where[-1]), known)
            hint = f"; did you mean {near}?" if near else ""
            origin = self.layers.origin(where)
            self.warnings.append(f"Ignoring unrecognized config key: {dotted(where)} ({origin}{hint})")

    def _refuse_unknown_of_policy(self) -> None:
        """Elsewhere an unknown key is a warning; a policy that is not understood must not be half in force."""
        for where, known in self.findings.unknown:
            # an option that is not locked goes with the plugin, and that may be another one than the policy's
            its_own = self._of_policy((where[0], "type")) if where[0] in ("provider", "framework") else True
            if its_own and self._of_policy(where):
                near = nearest(str(where[-1]), known)
                words = "there is no such key" + (f"; did you mean {near}?" if near else "")
                self.findings.problems.append((where, words))

    def _of_policy(self, where: Path) -> bool:
        return self.layers.origin(where).layer is Layer.POLICY

    def _filled_roots(self, table: OffloadTable, provider_class: type[Provider[Any]]) -> OffloadTable:
        """One of the two roots stands for both."""
        project, repository = "offload.sandbox_project_root", "offload.sandbox_repo_root"
        if not table.sandbox_project_root and not table.sandbox_repo_root:
            if provider_class.needs_sandbox_root:
                raise ConfigError(
                    f"{self.path}: this provider needs {repository} or {project}: where the repository or the "
                    "project is in a sandbox"
                )
            return table
        if not table.sandbox_project_root:
            self._fill(project, repository)
        if not table.sandbox_repo_root:
            self._fill(repository, project)
        return attrs.evolve(
            table,
            sandbox_project_root=table.sandbox_project_root or table.sandbox_repo_root,
            sandbox_repo_root=table.sandbox_repo_root or table.sandbox_project_root,
        )

    def _fill(self, missing: str, given: str) -> None:
        """A root that is locked without a value is not set by way of the other one."""
        self.provenance[missing] = self.provenance[given]
        lock = self.assembled.locks.on(tuple(missing.split(".")))
        if lock is not None and lock != self.assembled.locks.on(tuple(given.split("."))):
            raise ConfigError(f"{self.provenance[given]}: {given} would set {missing}, too, which is {lock}")

    def _problems(self, problems: Iterable[tuple[Path, str]]) -> str:
        lines = []
        for where, words in problems:
            origin = self.layers.origin(where)
            lines.append(f"{self.path if origin is DEFAULT else origin}: {dotted(where)}: {words}")
        return "\n".join(lines)
