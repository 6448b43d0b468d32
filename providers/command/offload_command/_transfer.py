"""Files by the user's own commands, `upload_command` and `download_command`."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath

from offload_core.abc import Command, Completed, Download, Upload
from offload_core.errors import DownloadFailed, RemoteFileMissing, UploadFailed
from offload_core.kit import pack, unpack

from ._template import pairs

_MISSING = 'for file do [ -e "$file" ] || printf "%s\\0" "$file"; done'

Copy = Callable[[str], Awaitable[None]]
"""Runs the configured command with what `{paths}` stands for."""


def expressible(paths: Sequence[PurePosixPath]) -> bool:
    """Whether the paths can stand in words of the form `a:b`."""
    return not any(":" in str(path) for path in paths)


async def upload(files: Sequence[Upload], copy: Copy) -> None:
    """Bring files into the sandbox.

    Raises:
        UploadFailed: a file cannot be read here.

    It raises whatever `copy` raises.
    """
    with tempfile.TemporaryDirectory(prefix="offload-upload-") as directory:
        try:
            words = await asyncio.to_thread(_on_disk, files, Path(directory))
        except OSError as error:
            raise UploadFailed(f"cannot read it here: {error}") from error
        await copy(pairs(words))


def _on_disk(files: Sequence[Upload], directory: Path) -> list[tuple[str, str]]:
    words = []
    for number, file in enumerate(files):
        if isinstance(file.source, bytes):
            source = directory / str(number)
            source.write_bytes(file.source)
            source.chmod(file.mode)
        else:
            source = file.source.resolve(strict=True)
        words.append((str(source), str(file.target)))
    return words


async def download(files: Sequence[Download], copy: Copy, run: Callable[[Command], Awaitable[Completed]]) -> None:
    """Bring files here: first to a place of their own, for what comes out of a sandbox is not trusted.

    Args:
        run: runs a command in the sandbox: where the download fails, it is asked which files are there.

    Raises:
        RemoteFileMissing: one is not there; nothing was written.
        DownloadFailed: what was brought cannot be read.

    It raises whatever `copy` raises.
    """
    with tempfile.TemporaryDirectory(prefix="offload-download-") as directory:
        arrived = [(file, Path(directory, str(number))) for number, file in enumerate(files)]
        try:
            await copy(pairs((str(file.source), str(path)) for file, path in arrived))
        except DownloadFailed as error:
            argv = ("/bin/sh", "-c", _MISSING, "offload-missing", *(str(file.source) for file in files))
            there = await run(Command(argv=argv))
            if there.exit.ok and there.stdout:
                raise _missing(there.stdout.decode(errors="replace").rstrip("\0").split("\0")) from error
            raise
        if missing := [str(file.source) for file, path in arrived if not _is_there(path)]:
            raise _missing(missing)
        await asyncio.to_thread(_hand_over, arrived)


def _is_there(path: Path) -> bool:
    """A link is not: it would lead to a file of this machine."""
    return path.exists() and not path.is_symlink()


def _hand_over(arrived: Sequence[tuple[Download, Path]]) -> None:
    with tempfile.TemporaryFile() as archive:
        try:
            pack([Upload(path, PurePosixPath("/", path.name)) for _, path in arrived], archive)
        except OSError as error:
            raise DownloadFailed(f"what `download_command` brought cannot be read: {error}") from error
        archive.seek(0)
        unpack(archive, [Download(PurePosixPath("/", path.name), file.target) for file, path in arrived])


def _missing(paths: Sequence[str]) -> RemoteFileMissing:
    return RemoteFileMissing(f"no such file: {', '.join(map(shlex.quote, paths))}")
