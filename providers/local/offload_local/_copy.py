"""A copy of the working tree for one sandbox. Big things that tests only read are linked instead."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pathspec
from attrs import frozen

from offload_core.errors import CreateFailed
from offload_core.kit import CACHES

from ._files import Stopped

_WELL_KNOWN = frozenset({".venv", "venv", "node_modules", ".tox", ".nox", "target"})
"""What is linked where git cannot tell what is ignored."""


@frozen
class Copier:
    """Knows what of one tree is copied, linked and left out.

    Attributes:
        source: the tree.
        linked: top-level directories that become symbolic links: those that git ignores, and `.git`.
        excluded: what the configuration leaves out.
    """

    source: Path
    linked: frozenset[str]
    excluded: pathspec.GitIgnoreSpec

    @classmethod
    def of(cls, source: Path, exclude: Sequence[str]) -> Copier:
        """Look at a tree. Blocks: it asks git."""
        return cls(source, _ignored(source) | {".git"}, pathspec.GitIgnoreSpec.from_lines(exclude))

    def copy(self, target: Path, stop: threading.Event) -> None:
        """Make the copy. Blocks. `target` must not exist, its parent must.

        Raises:
            CreateFailed: something could not be read or written.
            Stopped: `stop` was set.
        """
        try:
            self._directory(self.source, target, PurePosixPath(), stop)
        except OSError as error:
            what = f"cannot copy {error.filename or self.source}: {error.strerror}"
            raise CreateFailed(f"{what}; `copy_exclude` can leave it out") from error

    def _directory(self, source: Path, target: Path, relative: PurePosixPath, stop: threading.Event) -> None:
        with os.scandir(source) as entries:
            target.mkdir()
            for entry in entries:
                if stop.is_set():
                    raise Stopped
                inside = relative / entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if entry.name in CACHES or self.excluded.match_file(f"{inside}/" if directory else str(inside)):
                    continue
                try:
                    if directory and not relative.parts and entry.name in self.linked:
                        (target / entry.name).symlink_to(entry.path, target_is_directory=True)
                    elif directory:
                        self._directory(Path(entry.path), target / entry.name, inside, stop)
                    elif entry.is_symlink() or entry.is_file():  # not a socket, pipe or device
                        shutil.copy2(entry.path, target / entry.name, follow_symlinks=False)
                except FileNotFoundError:
                    if os.path.lexists(entry.path):  # else it has gone since it was listed
                        raise
        shutil.copystat(source, target)


def _ignored(source: Path) -> frozenset[str]:
    """Names of the top-level directories that git ignores."""
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"]
    try:
        done = subprocess.run(command, cwd=source, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _WELL_KNOWN
    entries = [os.fsdecode(entry) for entry in done.stdout.split(b"\0") if entry]
    if "./" in entries:  # the whole tree is ignored: git tells nothing of what is in it
        return _WELL_KNOWN
    return frozenset(entry.rstrip("/") for entry in entries if entry.endswith("/") and entry.count("/") == 1)
