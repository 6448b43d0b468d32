"""Tar archives to and from a sandbox. What comes out of a sandbox is not trusted."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from ..errors import DownloadFailed, RemoteFileMissing

if TYPE_CHECKING:
    from ._sandbox import Download, Upload

MAX_UNPACKED_BYTES = 4 << 30
"""The most that one download may unpack to."""

_CHUNK = 1 << 18


def pack(files: Sequence[Upload], archive: IO[bytes]) -> None:
    """Write a tar archive of `files` whose member names are their targets without the leading slash."""
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            name = str(file.target).lstrip("/")
            if isinstance(file.source, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(file.source)
                info.mode = file.mode
                tar.addfile(info, io.BytesIO(file.source))
            else:
                tar.add(file.source, arcname=name, filter=_without_owner)


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def unpack(archive: IO[bytes], files: Sequence[Download]) -> None:
    """Take `files` out of a tar archive, and nothing else.

    A member is written only where a requested path says. Absolute names, `..`, links and devices are left out; nothing
    is ever written through a link that stands in the target directory.

    Raises:
        RemoteFileMissing: a requested path has no member.
        DownloadFailed: the archive is cut, not an archive, or unpacks to more than `MAX_UNPACKED_BYTES`.
    """
    wanted = {PurePosixPath(str(file.source).lstrip("/")): file.target for file in files}
    found: set[PurePosixPath] = set()
    budget = MAX_UNPACKED_BYTES
    try:
        with tarfile.open(fileobj=archive, mode="r|") as tar:
            for member in tar:
                name = PurePosixPath(member.name.removeprefix("./"))
                if name.is_absolute() or ".." in name.parts:
                    continue
                root = next((path for path in (name, *name.parents) if path in wanted), None)
                if root is None:
                    continue
                found.add(root)
                target = wanted[root] / name.relative_to(root)
                if member.isdir():
                    _make_directory(wanted[root], target)
                elif member.isreg():
                    budget -= member.size
                    if budget < 0:
                        raise DownloadFailed(f"more than {MAX_UNPACKED_BYTES} bytes", operation="download")
                    _make_directory(wanted[root], target.parent)
                    source = tar.extractfile(member)
                    assert source is not None  # regular members have data
                    _write(source, target)
    except tarfile.TarError as error:
        raise DownloadFailed(f"not a whole tar archive: {error}", operation="download") from error
    if missing := sorted(str(path) for path in wanted.keys() - found):
        raise RemoteFileMissing(
            f"not in the sandbox: {', '.join('/' + path for path in missing)}", operation="download"
        )


def _make_directory(root: Path, directory: Path) -> None:
    """Make `directory`; a link at or below `root` that stands in its way is removed, not followed."""
    for path in reversed([directory, *directory.parents]):
        inside = path == root or root in path.parents
        if inside and (path.is_symlink() or (path.exists() and not path.is_dir())):
            path.unlink()
    directory.mkdir(parents=True, exist_ok=True)


def _write(source: IO[bytes], target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(target, flags, 0o644), "wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(chunk)
