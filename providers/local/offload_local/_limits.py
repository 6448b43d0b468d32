"""Open files: each sandbox takes some, and the usual soft limit is small."""

from __future__ import annotations

import contextlib
from functools import cache

_FILES_PER_SANDBOX = 8  # its socket, and the pipes of two commands
_FILES_BESIDES = 256


@cache
def usual() -> int:
    """The soft limit that Offload was started with, and that commands get back. To be asked before `allow`."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def needed(sandboxes: int) -> int:
    """How many open files so many sandboxes may take."""
    return sandboxes * _FILES_PER_SANDBOX + _FILES_BESIDES


def allowed() -> float:
    """How many open files this process could be allowed."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return float("inf") if most == resource.RLIM_INFINITY else most


def allow(sandboxes: int) -> None:
    """Raise this process's soft limit as far as so many sandboxes need and the hard limit lets it."""
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = int(min(needed(sandboxes), allowed()))
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
