"""Files into and out of a local sandbox: copies, in a thread that can be stopped."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from offload_core.abc import Download, Upload
from offload_core.errors import DownloadFailed, RemoteFileMissing, UploadFailed

T = TypeVar("T")


class Stopped(Exception):
    """The copying was stopped before it was done."""


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread. Cancelled, it sets the event and returns only when `work` has ended."""
    stop = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({running})
        running.exception()  # looked at, so that nobody is warned of it
        raise


def copy_in(files: Sequence[Upload], stop: threading.Event) -> None:
    """Copy files to where the sandbox sees them.

    Raises:
        UploadFailed: one could not be read or written.
        Stopped: `stop` was set.
    """
    for file in files:
        target = Path(file.target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(file.source, bytes):
                target.write_bytes(file.source)
                target.chmod(file.mode)
            else:
                _copy(file.source.resolve(strict=True), target, stop)
        except (OSError, shutil.Error) as error:
            raise UploadFailed(f"cannot write {target}: {error}") from error


def copy_out(files: Sequence[Download], stop: threading.Event) -> None:
    """Copy files to where they are wanted; links inside directories are left out, as everywhere.

    Raises:
        RemoteFileMissing: one is not there; nothing was written.
        DownloadFailed: one could not be read or written.
        Stopped: `stop` was set.
    """
    if missing := [str(file.source) for file in files if not Path(file.source).exists()]:
        raise RemoteFileMissing(f"no such file: {', '.join(missing)}")
    for file in files:
        try:
            file.target.parent.mkdir(parents=True, exist_ok=True)
            _copy(Path(file.source), file.target, stop, links=False)
        except (OSError, shutil.Error) as error:
            raise DownloadFailed(f"cannot copy {file.source}: {error}") from error


def _copy(source: Path, target: Path, stop: threading.Event, *, links: bool = True) -> None:
    if stop.is_set():
        raise Stopped
    directory = source.is_dir()
    if not directory and not source.is_file():
        return
    if target.is_symlink():
        target.unlink()
    if directory:
        target.mkdir(parents=True, exist_ok=True)
        for child in source.iterdir():
            copied = target / child.name
            if not child.is_symlink():
                _copy(child, copied, stop, links=links)
            elif links:
                if copied.is_symlink() or copied.is_file():
                    copied.unlink()
                copied.symlink_to(child.readlink())
    else:
        with source.open("rb") as reading, target.open("wb") as writing:
            while not stop.is_set() and (chunk := reading.read(1 << 20)):
                writing.write(chunk)
        shutil.copymode(source, target)
