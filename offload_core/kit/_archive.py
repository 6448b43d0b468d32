"""Tar archives to and from a sandbox. What comes out of a sandbox is not trusted."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Self

from attrs import frozen
from typing_extensions import override

from ..abc import Download, Upload
from ..errors import DownloadFailed, RemoteFileMissing

MAX_UNPACKED_BYTES = 4 << 30
"""The most that one download may unpack to."""

CACHES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache")
"""Directories that tools fill beside the sources. They change in every run, so they are in no image and no copy."""

MAX_HEADER_BYTES = 1 << 20
"""Of what an archive says about one member. It is held in memory."""

MAX_NAME = 4096
"""Characters of a member's name; no system takes a longer path."""

_CHUNK = 1 << 18
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Bounded(tarfile.TarInfo):
    """A member whose headers cannot fill the memory."""

    @classmethod
    @override
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header block, before what it announces is read."""
        info = super().frombuf(buf, encoding, errors)
        if info.type in _HEADERS and info.size > MAX_HEADER_BYTES:
            raise DownloadFailed(
                f"a header in the archive has more than {MAX_HEADER_BYTES} bytes", operation="download"
            )
        return info


def pack(files: Sequence[Upload], archive: IO[bytes]) -> None:
    """Write a tar archive of `files` whose member names are their targets without the leading slash.

    Links inside directories are kept as links; devices, pipes and sockets are left out.

    Raises:
        OSError: a file could not be read.
    """
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            name = str(file.target).lstrip("/")
            if isinstance(file.source, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(file.source)
                info.mode = file.mode
                info.mtime = int(time.time())
                tar.addfile(info, io.BytesIO(file.source))
            else:
                tar.add(file.source.resolve(strict=True), arcname=name, filter=portable)


def portable(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A filter for `tarfile`: files, directories and links only, and nothing of whom they belong to."""
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


@frozen(kw_only=True)
class Member:
    """A file in an archive: its name as it is below `/`, its size in bytes, and its SHA-256 if that was asked for."""

    name: PurePosixPath
    size: int
    digest: str = ""


def members(archive: IO[bytes], *, digests: bool = False) -> Iterator[Member]:
    """The files in one or several tar archives, one after the other, as `unpack` would write them.

    Raises:
        DownloadFailed: it is cut, or not an archive.
    """
    known: dict[PurePosixPath, str] = {}
    try:
        with tarfile.open(fileobj=archive, mode="r|", ignore_zeros=True, tarinfo=_Bounded) as tar:
            for member in tar:
                name = _inside(member.name)
                if name is None or not (member.isreg() or member.islnk()):
                    continue
                digest = ""
                if digests and member.isreg():
                    digest = known[name] = _digest(tar, member)
                elif digests:
                    digest = known.get(_inside(member.linkname) or name, "")
                yield Member(name=name, size=member.size, digest=digest)
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise DownloadFailed(f"not a whole tar archive: {error}", operation="download") from error


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    source = tar.extractfile(member)
    assert isinstance(source, io.BufferedReader)  # regular members have data
    return hashlib.file_digest(source, "sha256").hexdigest()


def unpack(
    archive: IO[bytes], files: Sequence[Download], *, joined: bool = False, limit: int = MAX_UNPACKED_BYTES
) -> None:
    """Take `files` out of a tar archive, and nothing else.

    A member is written only where a requested path says. Absolute names, `..`, symbolic links and devices are left
    out; nothing is ever written through a link that stands in the target directory.

    Args:
        joined: there may be several archives, one after the other.
        limit: bytes that it may unpack to.

    Raises:
        RemoteFileMissing: a requested path has no member.
        DownloadFailed: the archive is cut, not an archive, unpacks to more than `limit`, or cannot be written here.
    """
    unpacking = _Unpacking(files, limit)
    try:
        with tarfile.open(fileobj=archive, mode="r|", ignore_zeros=joined, tarinfo=_Bounded) as tar:
            for member in tar:
                unpacking.take(tar, member)
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise DownloadFailed(f"not a whole tar archive: {error}", operation="download") from error
    except OSError as error:
        raise DownloadFailed(f"cannot be written here: {error}", operation="download") from error
    if missing := sorted(f"/{path}" for path in unpacking.wanted.keys() - unpacking.found):
        why = f"no file or directory in the sandbox: {', '.join(missing)}"
        raise RemoteFileMissing(why, operation="download")


class _Unpacking:
    """What was asked for, by name in the archive, and what has come of it."""

    def __init__(self, files: Sequence[Download], limit: int) -> None:
        self.wanted: dict[PurePosixPath, list[Path]] = {}
        for file in files:
            self.wanted.setdefault(PurePosixPath(str(file.source).lstrip("/")), []).append(file.target)
        self.found: set[PurePosixPath] = set()
        self._written: dict[PurePosixPath, Path] = {}
        self._limit = self._budget = limit

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write one member wherever it is wanted."""
        name = _inside(member.name)
        if name is None or not (targets := self._targets(name)):
            return
        if member.isdir():
            for root, target in targets:
                _make_directory(root, target)
        elif member.isreg():
            self._spend(member.size, len(targets))
            source = tar.extractfile(member)
            assert source is not None  # regular members have data
            (root, first), *others = targets
            _write(source, root, first)
            self._written[name] = first
            self._copy(first, others)
        elif member.islnk() and (original := self._written.get(_inside(member.linkname) or name)):
            # a second name of a file that came before
            self._spend(original.stat().st_size, len(targets))
            self._copy(original, targets)
        else:
            return
        self.found.update(path for path in (name, *name.parents) if path in self.wanted)

    def _targets(self, name: PurePosixPath) -> list[tuple[Path, Path]]:
        """Each requested path that this member belongs to, as it is on the host, and the member's own path there."""
        return [
            (root, root / name.relative_to(path))
            for path in (name, *name.parents)
            for root in self.wanted.get(path, ())
        ]

    def _copy(self, original: Path, targets: Sequence[tuple[Path, Path]]) -> None:
        for root, target in targets:
            if target != original:
                with original.open("rb") as source:
                    _write(source, root, target)

    def _spend(self, size: int, times: int) -> None:
        self._budget -= size * times
        if self._budget < 0:
            raise DownloadFailed(f"more than {self._limit} bytes", operation="download")


def _inside(name: str) -> PurePosixPath | None:
    """The name of a member that may be looked at."""
    if len(name) > MAX_NAME:
        return None
    path = PurePosixPath(name)
    return None if path.is_absolute() or ".." in path.parts else path


def _make_directory(root: Path, directory: Path) -> None:
    """Make `directory`; a link at or below `root` that stands in its way is removed, not followed."""
    for path in reversed([directory, *directory.parents]):
        inside = path == root or root in path.parents
        if inside and (path.is_symlink() or (path.exists() and not path.is_dir())):
            path.unlink()
    directory.mkdir(parents=True, exist_ok=True)


def _write(source: IO[bytes], root: Path, target: Path) -> None:
    _make_directory(root, target.parent)
    if target.is_symlink():
        target.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(target, flags, 0o644), "wb") as out:
        shutil.copyfileobj(source, out, _CHUNK)
