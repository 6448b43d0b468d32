"""What `offload run` was asked on its command line, checked against the configuration and what the provider can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from ..abc import PrepareRequest, Provider
from ..config.documents import Document
from ..config.layers import from_flag
from ..config.loading import Loaded
from ..errors import ConfigError
from .request import prepare_request


@frozen(kw_only=True)
class RunOptions:
    """The options of the command, named as there. `argv` is the whole command line, for the journal."""

    argv: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    parallel: int | None = None
    runner: str | None = None
    last_failed: bool = False
    fail_fast: bool = False
    env: tuple[str, ...] = ()
    copy_dir: tuple[str, ...] = ()
    no_cache: bool = False
    override_image_id: str | None = None
    flaky_result: str | None = None
    no_tests: str | None = None
    ci: bool = False
    color: str = "auto"
    verbose: bool = False
    record_history: bool = False
    trace: bool = False
    show_estimated_cost: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """The variables that `--env` sets; the last of one name counts."""
        return {name: value for each in self.env for name, equals, value in [each.partition("=")] if name and equals}

    @property
    def overrides(self) -> list[Document]:
        """Those that set a key of the configuration, or do what one says, for where it is loaded."""
        given = (
            ("--parallel", "offload.max_parallel", self.parallel),
            ("--runner", "offload.runner", self.runner),
            ("--env", "--env", self.variables or None),
            ("--copy-dir", "--copy-dir", self.copy_dir or None),
            ("--override-image-id", "--override-image-id", self.override_image_id),
        )
        return [from_flag(key, value, option) for option, key, value in given if value is not None]

    def warnings(self, provider: Provider[Any]) -> Iterator[str]:
        """What was asked for and has no effect, in words."""
        for each in self.env:
            name, equals, _ = each.partition("=")
            if not (name and equals):
                yield f"--env {each!r} is not of the form NAME=VALUE: ignored"
        if not makes_images(provider):
            for flag, given in (("--copy-dir", bool(self.copy_dir)), ("--no-cache", self.no_cache)):
                if given:
                    yield f"{flag} has no effect: the provider {provider.context.name!r} makes no images"

    def check(self, loaded: Loaded) -> None:
        """What was asked for and cannot be.

        Raises:
            ConfigError: says which option, and why.
        """
        name = loaded.config.provider.type
        if self.override_image_id is not None and loaded.provider_class.prepare is Provider.prepare:
            raise ConfigError(f"--override-image-id is only for providers that run images; {name!r} does not")
        if self.record_history and loaded.config.history is None:
            raise ConfigError("--record-history needs a [history] table in the configuration")
        for each in self.copy_dir:
            _copy(each, loaded)

    def prepare_request(self, loaded: Loaded, progress: Callable[[str], None]) -> PrepareRequest:
        """What the image is to be made from. An image that was named is used as it is. `check` has been called."""
        if self.override_image_id is not None:
            more: dict[str, Any] = {"base": self.override_image_id, "init": None}
        else:
            more = {"copy": tuple(_copy(each, loaded) for each in self.copy_dir)}
        return prepare_request(loaded, no_cache=self.no_cache, progress=progress, **more)


def makes_images(provider: Provider[Any]) -> bool:
    """Whether the provider has a `prepare` of its own."""
    return type(provider).prepare is not Provider.prepare


def _copy(text: str, loaded: Loaded) -> tuple[Path, PurePosixPath]:
    source, colon, target = text.partition(":")
    if not (source and colon and target):
        raise ConfigError(f"--copy-dir {text!r} is not of the form LOCAL:REMOTE")
    path = Path(source).absolute()
    if not path.exists():
        raise ConfigError(f"--copy-dir {text!r}: there is no {path}")
    root = PurePosixPath(loaded.config.offload.sandbox_project_root or "/")
    return path, root / target
