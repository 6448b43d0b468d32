"""Which tests the user asked for by id or path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..abc import Group, Launch


def is_selected(group: Group, launch: Launch, id: str, path: str) -> bool:
    """Whether a test, or a module, is one of those that a group is narrowed to."""
    return not group.select or is_asked(id, path, group.select, Path(launch.root))


def is_asked(id: str, path: str, asked: Sequence[str], root: Path = Path()) -> bool:
    """Whether a test is one of those asked for, by its id, its path, or the beginning of either.

    `root` is the project's directory: what is asked for may also be an absolute path in it, or be written with `./`.
    """
    return any(
        name == each or each == "." or name.startswith((f"{each}::", f"{each}[", f"{each}/", f"{each} "))
        for one in asked
        for each in (one, _plain(one, root))
        for name in (id, path)
    )


def _plain(asked: str, root: Path) -> str:
    """An id or path with its file as ids have it: normal, and relative to the project. `/...` is Go for all below."""
    file, colons, rest = asked.removesuffix("/...").partition("::")
    if Path(file).is_absolute():
        file = os.path.relpath(os.path.realpath(file), root.resolve())
    return os.path.normpath(file) + colons + rest
