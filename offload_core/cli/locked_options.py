"""Options of `offload run` that are no keys of the configuration, but would do what a locked key says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..config.layers import dotted
from ..config.loading import Loaded
from ..config.locks import Lock
from ..config.secrets import environment_of
from ..errors import ConfigError

_ABOUT_NO_IMAGE = {"type", "env"}
_MAKING_THE_IMAGE = (("offload", "sandbox_init_cmd"), ("offload", "post_patch_cmd"))


def refuse_locked(loaded: Loaded, variables: Mapping[str, str], *, image: bool, copy: bool) -> None:
    """Refuse what goes around a lock.

    Args:
        variables: `--env`, which sets `[provider.env]`.
        image: whether `--override-image-id` is given, which replaces all that the configuration says of the image.
        copy: whether `--copy-dir` is given, which adds to `[provider] copy_dirs`.
    Raises:
        ConfigError: names the option, the key, who locked it and why.
    """
    locks = loaded.assembled.locks
    found: list[tuple[str, Lock | None]] = []
    now = environment_of(loaded.config.provider.options)
    for name, value in variables.items():
        if now.get(name) != value:
            found.append((f"--env {name}", locks.on(("provider", "env", name))))
    if image:
        found.append(("--override-image-id", next(_on_image(loaded), None)))
    if copy:
        found.append(("--copy-dir", locks.on(("provider", "copy_dirs"))))
    problems = [f"{option}: {dotted(lock.path)}: {lock}" for option, lock in found if lock]
    if problems:
        raise ConfigError("\n".join(problems))


def _on_image(loaded: Loaded) -> Iterator[Lock]:
    """The core does not know which of a provider's keys are about its image, so a lock on any that may be counts."""
    locks = loaded.assembled.locks
    yield from filter(None, map(locks.on, _MAKING_THE_IMAGE))
    for lock in locks.locks:
        if lock.path[0] == "provider" and (len(lock.path) == 1 or lock.path[1] not in _ABOUT_NO_IMAGE):
            yield lock
