"""Commands on the host itself: where discovery runs unless the configuration says otherwise."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..abc import Command, Upload
from ..errors import UploadFailed
from ..kit import HostProcess, launched


class HostExecutor:
    """An `Executor` whose commands are processes of this machine, with the environment that sandboxes on it inherit."""

    async def exec(self, command: Command) -> HostProcess:
        """Start a command.

        Raises:
            ExecFailed: there is no such program or directory.
        """
        return await HostProcess.start(launched(command))

    async def upload(self, files: Sequence[Upload]) -> None:
        """Copy files; each appears whole or not at all.

        Raises:
            UploadFailed: one could not be written.
        """
        try:
            for file in files:
                await asyncio.to_thread(_copy, file)
        except OSError as error:
            raise UploadFailed(str(error), operation="upload") from error


def _copy(file: Upload) -> None:
    target = Path(file.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file.source, Path) and file.source.is_dir():
        shutil.copytree(file.source, target, symlinks=True, dirs_exist_ok=True)
        return
    data = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
    mode = file.mode if isinstance(file.source, bytes) else file.source.stat().st_mode & 0o777
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        try:
            out.write(data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            Path(out.name).replace(target)
        except BaseException:
            Path(out.name).unlink()
            raise
