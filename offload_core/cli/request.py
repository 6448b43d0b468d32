"""What a command asks of the execution, from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ..abc import Group, PrepareRequest, Provider
from ..config.loading import Loaded
from ..execution import RunRequest
from .configured import make_framework


def make_request(
    loaded: Loaded, provider: Provider[Any], groups: Sequence[Group], run_id: str, **more: Any
) -> RunRequest:
    """What the configuration says of a run. `more` is what a command line adds: other fields of the request."""
    config = loaded.config
    fields: dict[str, Any] = {
        "project": loaded.project_dir.name,
        "project_dir": loaded.project_dir,
        "offload": config.offload,
        "retry": config.retry,
        "prepare": prepare_request(loaded),
        "framework_env": config.framework.env,
        "discover_in": config.framework.discover_in,
    }
    return RunRequest(
        run_id=run_id, provider=provider, framework=make_framework(loaded), groups=tuple(groups), **(fields | more)
    )


def prepare_request(loaded: Loaded, **more: Any) -> PrepareRequest:
    """What the configuration says of the image. `more` is what a command line adds, or says instead."""
    init = loaded.config.offload.sandbox_init_cmd
    return PrepareRequest(**({"context": loaded.project_dir, "init": init, "exclude": written(loaded)} | more))


def written(loaded: Loaded) -> tuple[PurePosixPath, ...]:
    """What Offload itself writes below the project's directory, relative to it."""
    output = loaded.output_dir.resolve()
    history = [loaded.history_path.resolve()] if loaded.history_path else []
    project = loaded.project_dir.resolve()
    return tuple(PurePosixPath(path.relative_to(project)) for path in (output, *history) if project in path.parents)
