"""Which state of the project a run was about: its commit, and a hash of what was changed since."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

GIT_TIMEOUT_SECS = 5.0
"""A repository in which git takes longer has no revision in the journal; the run does not wait for it."""

_HEAD = ("rev-parse", "HEAD")
_CHANGES = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
_UNTRACKED = ("ls-files", "--others", "--exclude-standard", "-z")


@frozen(kw_only=True)
class Revision:
    """Both empty where there is no repository, `dirty_hash` also where nothing was changed."""

    commit: str = ""
    dirty_hash: str = ""


def start_looking(directory: Path) -> Future[Revision]:
    """Ask git, beside what else there is to do before a run."""
    with_one = ThreadPoolExecutor(1, thread_name_prefix="git")
    found = with_one.submit(look, directory)
    with_one.shutdown(wait=False)
    return found


def look(directory: Path) -> Revision:
    """Ask git. Never raises; files that git does not track count by name, size and time."""
    try:
        commit = _git(directory, _HEAD).decode().strip()
        changes = _git(directory, _CHANGES)
        untracked = sorted(filter(None, _git(directory, _UNTRACKED).split(b"\0")))
    except (OSError, subprocess.SubprocessError):
        return Revision()
    if not changes and not untracked:
        return Revision(commit=commit)
    digest = hashlib.sha256(changes)
    for name in untracked:
        digest.update(name + _stat(directory, name))
    return Revision(commit=commit, dirty_hash=digest.hexdigest()[:16])


def _git(directory: Path, arguments: tuple[str, ...]) -> bytes:
    done = subprocess.run(
        ("git", "--no-optional-locks", "-C", str(directory), *arguments),
        check=True,
        timeout=GIT_TIMEOUT_SECS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return done.stdout


def _stat(directory: Path, name: bytes) -> bytes:
    try:
        stat = (directory / name.decode(errors="surrogateescape")).lstat()
    except OSError:
        return b""
    return f"{stat.st_size}:{stat.st_mtime_ns}".encode()
