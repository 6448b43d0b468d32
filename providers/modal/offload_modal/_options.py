"""The `[provider]` table of `type = "modal"`.

The configuration reference is made from it; the table in this distribution's README is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from attrs.validators import ge, gt, optional

from offload_core.abc import key, local_and_remote

PRICE_PER_CPU_SECOND = 0.00003942
"""What Modal's price list asks for one second of one core of a sandbox, in USD."""


@frozen(kw_only=True)
class ModalOptions:
    """What sandboxes are made from, and what they get."""

    dockerfile: str | None = key(
        None, "Dockerfile to build the image from, relative to the project; each RUN, COPY and ADD is a cached layer."
    )
    image: str | None = key(
        None, "Image to use instead of a Dockerfile: a registry reference, or the id (`im-…`) of an image at Modal."
    )
    python_version: str | None = key(
        None, "Python of the default image, or one to add to `image`; by default this machine's, or none added."
    )
    include_cwd: bool = key(False, "Copy the project into the image, without what `.dockerignore` names.")
    copy_dirs: tuple[str, ...] = key((), "More to copy into the image, as `LOCAL:REMOTE`.", validator=local_and_remote)
    env: Mapping[str, str] = key({}, "Variables for every command.")
    secrets: tuple[str, ...] = key((), "Names of secrets at Modal whose variables every command gets.")
    cpu_cores: float = key(0.125, "Cores that are reserved for each sandbox.", validator=gt(0))
    memory_gb: float | None = key(None, "Memory that is reserved for each sandbox, in GiB.", validator=optional(gt(0)))
    gpu: str | None = key(None, "A GPU for each sandbox, such as `T4` or `A100:2`.")
    region: str | None = key(None, "Where sandboxes run; by default anywhere.")
    app_name: str = key("offload-sandbox", "The app at Modal that sandboxes belong to. It is made if it is not there.")
    environment: str | None = key(None, "The environment at Modal; by default that of Modal's own configuration.")
    timeout_secs: float = key(3600.0, "The longest life of a sandbox; Modal ends it then.", validator=gt(0))
    idle_timeout_secs: float | None = key(
        None, "Modal ends a sandbox that did nothing for so long.", validator=optional(gt(0))
    )
    experimental_options: Mapping[str, Any] = key({}, "Handed to Modal as they are.")
    price_per_cpu_second: float = key(PRICE_PER_CPU_SECOND, "For cost estimates, in USD.", validator=ge(0))
