"""What a command on this machine inherits of Offload's own environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_CONFIGURATION = re.compile(r"OFFLOAD_.*__.*")


def inherited_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for commands that run beside Offload: Offload's own, without its configuration.

    `OFFLOAD_<TABLE>__<KEY>` configures this run, not one that a test starts. If Offload runs in a virtual environment
    that nobody activated, its programs come first in PATH, so that `python` is the one it was installed for.
    """
    kept = {key: value for key, value in environment.items() if not _CONFIGURATION.fullmatch(key)}
    if sys.prefix != sys.base_prefix and "VIRTUAL_ENV" not in kept:
        programs = str(Path(sys.executable).parent)
        kept["PATH"] = os.pathsep.join(path for path in (programs, kept.get("PATH", os.defpath)) if path)
    return kept
