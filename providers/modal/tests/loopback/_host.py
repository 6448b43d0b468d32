"""What a sandbox sees of the machine: its programs, copy on write, and nothing of its data."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

_KEPT = ("/bin", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin", "/usr")
_EMPTY = {"/dev": 0o755, "/home": 0o755, "/mnt": 0o755, "/proc": 0o555, "/root": 0o700, "/run": 0o755}
_EMPTY |= {"/sys": 0o555, "/tmp": 0o1777, "/var": 0o755, "/srv": 0o755}


def hide_data(mask: Path) -> None:
    """Fill `mask`, an overlay layer to lie above `/`, so that only programs and this Python's environment are seen.

    Names that are kept out are whiteouts, and directories that start empty are opaque, as overlayfs wants them.
    """
    kept = {Path(name) for name in (*_KEPT, sys.prefix, sys.base_prefix) if Path(name).exists()}
    _mask(mask, Path("/"), kept)
    for name, mode in _EMPTY.items():
        directory = mask / name[1:]
        if not directory.exists():
            _empty(directory)
        directory.chmod(mode)
    (mask / "var" / "tmp").mkdir(exist_ok=True)
    (mask / "var" / "tmp").chmod(0o1777)


def _mask(mask: Path, shown: Path, kept: Iterable[Path]) -> None:
    for entry in shown.iterdir():
        here = mask / entry.name
        if entry in kept:
            continue
        if any(path.is_relative_to(entry) for path in kept):
            here.mkdir()
            _mask(here, entry, kept)
        elif str(entry) in _EMPTY:
            _empty(here)
        else:
            os.mknod(here, stat.S_IFCHR, os.makedev(0, 0))


def _empty(directory: Path) -> None:
    directory.mkdir()
    os.setxattr(directory, "trusted.overlay.opaque", b"y")
