"""From the command line's options to a loaded configuration, and from that to a provider and a framework."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..abc import Context, Framework, Group, Provider
from ..config.documents import Document
from ..config.loading import Loaded, load
from .root import Settings
from .saying import warn


def load_configured(settings: Settings, overrides: Sequence[Document] = ()) -> Loaded:
    """The configuration that `-c` names, with the environment and the command line laid over it.

    Raises:
        ConfigError, PluginError: as `offload_core.config.loading.load`.
    """
    return load(settings.config, environ=os.environ, overrides=overrides)


def make_provider(loaded: Loaded, say: Callable[[str], None] = warn) -> Provider[Any]:
    """The configured provider, which tells `say` what the user should see. It has done no I/O yet."""
    config = loaded.config
    root = config.offload.sandbox_project_root
    context = Context(
        name=config.provider.type,
        project_dir=loaded.project_dir,
        sandbox_root=PurePosixPath(root) if root else None,
        max_parallel=config.offload.max_parallel,
        liveness=config.liveness,
        warn=say,
    )
    return loaded.provider_class(config.provider.options, context)


def make_framework(loaded: Loaded) -> Framework[Any]:
    """The configured framework."""
    return loaded.framework_class(loaded.config.framework.options)


def make_groups(loaded: Loaded, select: Sequence[str] = ()) -> tuple[Group, ...]:
    """The configured groups, in their order, narrowed to `select` if that is not empty."""
    return tuple(
        Group(
            name=name,
            retries=group.retry_count,
            individual=group.schedule_individual,
            filters=tuple(shlex.split(group.filters)),
            select=tuple(select),
        )
        for name, group in loaded.config.groups.items()
    )
