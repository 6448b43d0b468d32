"""Wrong about files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from offload_core.abc import Download, Upload
from offload_core.errors import ProviderError
from offload_core.kit import launched

from .base import Case, WrongSandbox, hang, script


class LosesEmptyFiles(WrongSandbox):
    """Uploads only what has a content."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """Without empty files."""
        await super().upload([file for file in files if _content(file)])


def _content(file: Upload) -> bytes:
    return file.source if isinstance(file.source, bytes) else file.source.read_bytes()


class FetchesOnce(WrongSandbox):
    """Keeps one target for each source."""

    async def download(self, files: Sequence[Download]) -> None:
        """The first."""
        await super().download(list({file.source: file for file in reversed(files)}.values()))


class ForgetsModes(WrongSandbox):
    """Uploads contents, not files."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """With the usual mode."""
        await super().upload([evolve(file, source=_content(file), mode=0o644) for file in files])


class FollowsLinks(WrongSandbox):
    """Brings what links in a directory stand for."""

    async def download(self, files: Sequence[Download]) -> None:
        """As files."""
        await super().download(files)
        for file in files:
            for link in _links(Path(file.source)):
                (file.target / link.relative_to(file.source)).write_bytes(link.read_bytes())


def _links(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_symlink()]


class IgnoresMissing(WrongSandbox):
    """Downloads what is there."""

    async def download(self, files: Sequence[Download]) -> None:
        """Without the rest."""
        await super().download([file for file in files if os.path.exists(file.source)])  # noqa: ASYNC240, PTH110


class DownloadsInPieces(WrongSandbox):
    """Writes what is there before it finds that something is missing."""

    async def download(self, files: Sequence[Download]) -> None:
        """One after the other."""
        for file in files:
            await super().download([file])


class SwallowsErrors(WrongSandbox):
    """Calls an upload done, whatever happened."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """Without a word."""
        try:
            await super().upload(files)
        except ProviderError:
            pass


class TransfersGoOn(WrongSandbox):
    """Does not end when it is cancelled."""

    async def download(self, files: Sequence[Download]) -> None:
        """Waits for something that never comes."""
        try:
            await super().download(files)
        except asyncio.CancelledError:
            await hang()


class LeavesCommands(WrongSandbox):
    """Starts a command for each upload, and leaves it there when it is cancelled."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """Beside a command, which is started in any case."""
        beside = await asyncio.shield(asyncio.ensure_future(self.exec(launched(script("exec sleep 600")))))
        await asyncio.sleep(1)
        await super().upload(files)
        await beside.kill()


CASES = (
    Case(LosesEmptyFiles, "test_files_round_trip", "`download` must return; it raised .*no such file"),
    Case(FetchesOnce, "test_files_many", "all files of one call must arrive|wanted twice must arrive twice"),
    Case(ForgetsModes, "test_files_mode", "an uploaded program must be executable"),
    Case(FollowsLinks, "test_files_directories", "a directory must arrive whole, without its links"),
    Case(IgnoresMissing, "test_files_missing", "must raise RemoteFileMissing"),
    Case(DownloadsInPieces, "test_files_missing", "must write nothing"),
    Case(SwallowsErrors, "test_files_cannot_be_written", "must raise a ProviderError"),
    Case(TransfersGoOn, "test_files_cancelled", "a cancelled `download` must return", hangs=True),
    Case(LeavesCommands, "test_files_cancelled", "must leave no command running in the sandbox", hangs=True),
)
