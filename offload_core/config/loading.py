"""From a file, the environment and the command line to a `Config`: types, checks, and where values are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from ..abc import Framework, Provider
from ..errors import ConfigError
from .assembly import Assembled, assemble
from .documents import document, read
from .keys import KeyPath, Layer, Origin
from .overrides import Option, Override
from .problems import located
from .reading import Reader
from .schema import DEFAULT_FILE, Config
from .secrets import config_hash


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
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[Override] = (),
    options: Sequence[Option] = (),
) -> Loaded:
    """Read a configuration file and everything that is laid over it.

    Args:
        path: the file; by default `offload.toml` in the current directory.
        environ: for `OFFLOAD_<TABLE>__<KEY>`, `OFFLOAD_RUNNERS`, and for `${…}` in `[provider.env]`.
        overrides: from the command line, the strongest layer.
        options: of a command, which are no keys, but do what a key says. They change nothing here; they are refused
            where that key is locked.

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
    return parse(text, path, environ=environ, overrides=overrides, options=options)


def parse(
    text: str,
    path: Path,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[Override] = (),
    options: Sequence[Option] = (),
) -> Loaded:
    """As `load`, of the text of a file that stands at `path`."""
    environ = environ or {}
    assembled = assemble(document(text, str(path), Layer.FILE), environ, overrides, options)
    reader = Reader(path, assembled, environ)
    config = reader.config()
    return Loaded(
        config=config,
        path=path,
        project_dir=_project_dir(path, config, assembled),
        provider_class=reader.plugins["provider"],
        framework_class=reader.plugins["framework"],
        provenance=reader.provenance,
        warnings=tuple(reader.warnings),
        hash=config_hash(config, environ),
        assembled=assembled,
    )


def _project_dir(path: Path, config: Config, assembled: Assembled) -> Path:
    directory = path.absolute().parent / (config.offload.working_dir or "")
    if config.offload.working_dir is not None and not directory.is_dir():
        where: KeyPath = ("offload", "working_dir")
        words = f"there is no directory {directory}"
        raise ConfigError(located(assembled.layers.origin(where), where, words))
    return directory
