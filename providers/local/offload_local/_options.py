"""The `[provider]` table of `type = "local"`.

The configuration reference is made from it; the table in this distribution's README is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from offload_core.abc import key


@frozen(kw_only=True)
class LocalOptions:
    """How commands run on this machine."""

    working_dir: str | None = key(None, "Directory to run in, relative to the project's; by default the project's.")
    env: Mapping[str, str] = key({}, "Variables for every command, on top of Offload's own environment.")
    shell: str = key("/bin/sh", "The shell for commands that are given as a shell line.")
    isolation: Literal["none", "copy"] = key(
        "none",
        "`copy` gives each sandbox a copy of the working tree: tests that write beside themselves do not collide.",
    )
    copy_exclude: tuple[str, ...] = key((), "What `copy` leaves out, as patterns of `.gitignore`.")
    copy_dirs: tuple[str, ...] = key(
        (), "Accepted because other providers have it.", inert="a local sandbox sees this machine's files as they are"
    )
