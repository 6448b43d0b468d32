"""The `[provider]` table of `type = "docker"`.

The configuration reference is made from it; the table in this distribution's README is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen
from attrs.validators import gt, optional

from offload_core.abc import key, local_and_remote


def _one_source(options: DockerOptions, attribute: Any, value: str | None) -> None:
    if value is not None and options.image is not None:
        raise ValueError(f"{attribute.name}: set `image` or `dockerfile`, not both")


@frozen(kw_only=True)
class DockerOptions:
    """What containers are made from, what they may use, and where they run."""

    image: str | None = key(None, "The image that containers are made from, as it is.")
    dockerfile: str | None = key(
        None, "Build the image from this file instead, relative to the project's directory.", validator=_one_source
    )
    context_dir: str | None = key(
        None, "What the Dockerfile's `COPY` sees, relative to the project's directory; by default that directory."
    )
    include_cwd: bool = key(
        False, "Put the working tree into the image at `sandbox_project_root`; `.dockerignore` is honoured."
    )
    copy_dirs: tuple[str, ...] = key(
        (), "More files and directories to put into the image, as LOCAL:REMOTE.", validator=local_and_remote
    )
    env: Mapping[str, str] = key({}, "Variables for everything that runs in the containers.")
    cpu_cores: float | None = key(
        None, "How many CPUs a container may use; no limit by default.", validator=optional(gt(0))
    )
    memory_gb: float | None = key(
        None,
        "How much memory a container may use, in GiB, without swap; no limit by default.",
        validator=optional(gt(0)),
    )
    network: str = key("bridge", "The network containers are on; `none` for none.")
    user: str | None = key(None, "The user that commands run as; by default the image's.")
    labels: Mapping[str, str] = key({}, "More labels for the containers.")
    pull: Literal["missing", "always", "never"] = key("missing", "When `image` is pulled from its registry.")
    hosts: tuple[str, ...] = key(
        (),
        "Engines to spread the sandboxes over: URLs, or names of docker contexts. By default the one that the `docker` "
        "command would use.",
    )
