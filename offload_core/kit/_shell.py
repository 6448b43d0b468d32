"""What a sandbox needs no more than a POSIX shell and `tar` for: files in one archive, and killing by a mark."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Sequence

from typing_extensions import override

from ..abc import Command, Completed, Download, Process, Sandbox, Upload
from ..errors import DownloadFailed, ProviderError, RemoteFileMissing, SandboxDead, UploadFailed
from ._archive import MAX_UNPACKED_BYTES, pack, unpack
from ._launcher import KILL_SECS, kill_command, launched
from ._tasks import END_SECS, race

_CHUNK = 1 << 18
_KILLS = 5
_MISSING = 44  # exit code of the download command; tar itself uses 0, 1 and 2
_DOWNLOAD = f"""\
for file do [ -e "/$file" ] || {{ echo "/${{file#./}}" >&2; exit {_MISSING}; }}; done
exec tar -cf - -C / -- "$@"
"""


class ShellProcess(Process):
    """A command in a sandbox whose backend cannot kill it: a second command does."""

    def __init__(self, sandbox: Sandbox, command: Command) -> None:
        super().__init__(command)
        self.sandbox = sandbox

    @override
    async def kill(self) -> None:
        """Kill all that carries the mark, by a second, bounded command; if that fails, terminate the sandbox.

        Again until it has ended: a backend may say that a command was started before it is in the sandbox.
        """
        for _ in range(_KILLS):
            if not await kill_marked(self.sandbox, self.command):
                break
            if await race(self.wait(), asyncio.Future(), within=END_SECS) is not None:
                return
        await self.sandbox.terminate()


async def kill_marked(sandbox: Sandbox, command: Command) -> bool:
    """Kill what carries a command's mark in its sandbox. False if something may be left; true if the sandbox is dead.

    Bounded by 10 seconds. Raises nothing.
    """
    if command.mark is None:
        return False
    try:
        async with asyncio.timeout(KILL_SECS):
            # Not launched, so not marked: if this one hangs, it is not killed by another of its kind.
            killer = await sandbox.exec(kill_command(command.mark))
            return (await killer.communicate()).exit.ok
    except SandboxDead:
        return True
    except (ProviderError, TimeoutError):
        return False


class ShellSandbox(Sandbox):
    """A sandbox into and out of which files travel as one tar archive, through `exec`."""

    @override
    async def upload(self, files: Sequence[Upload]) -> None:
        if not files:
            return
        with tempfile.TemporaryFile() as archive:
            try:
                await asyncio.to_thread(pack, files, archive)
            except OSError as error:
                raise UploadFailed(f"cannot read it here: {error}", operation="upload", sandbox=self.ref.id) from error
            archive.seek(0)
            chunks = iter(lambda: archive.read(_CHUNK), b"")
            done = await run_command(self, Command(argv=("tar", "-xf", "-", "-C", "/")), chunks)
        if not done.exit.ok:
            raise UploadFailed(f"tar: {done.exit}: {_tail(done.stderr)}", operation="upload", sandbox=self.ref.id)

    @override
    async def download(self, files: Sequence[Download]) -> None:
        if not files:
            return
        names = [f"./{str(file.source).lstrip('/')}" for file in files]
        command = Command(argv=("/bin/sh", "-c", _DOWNLOAD, "offload-download", *names))
        with tempfile.TemporaryFile() as archive:

            def keep(chunk: bytes) -> None:
                if archive.tell() + len(chunk) > MAX_UNPACKED_BYTES:
                    too_big = f"more than {MAX_UNPACKED_BYTES} bytes"
                    raise DownloadFailed(too_big, operation="download", sandbox=self.ref.id)
                archive.write(chunk)

            done = await run_command(self, command, keep=keep)
            if done.exit.code == _MISSING:
                missing = f"no such file: {_tail(done.stderr)}"
                raise RemoteFileMissing(missing, operation="download", sandbox=self.ref.id)
            if not done.exit.ok:
                said = f"tar: {done.exit}: {_tail(done.stderr)}"
                raise DownloadFailed(said, operation="download", sandbox=self.ref.id)
            archive.seek(0)
            await asyncio.to_thread(unpack, archive, files)


async def run_command(
    sandbox: Sandbox,
    command: Command,
    stdin: bytes | Iterable[bytes] = (),
    *,
    keep: Callable[[bytes], object] | None = None,
) -> Completed:
    """Run a command in a sandbox to its end and return what it wrote. For small outputs.

    `stdin` and `keep` are as for `Process.communicate`.

    Raises:
        TimeoutError: `command.timeout` was over; the command was killed.
        ProviderError: as `Sandbox.exec`.

    Cancelled, the command is killed.
    """
    process = await sandbox.exec(launched(command))
    try:
        async with asyncio.timeout(command.timeout):
            return await process.communicate([stdin] if isinstance(stdin, bytes) else stdin, keep=keep)
    except BaseException:
        await process.abandon()
        raise


def _tail(data: bytes, limit: int = 2000) -> str:
    return data[-limit:].decode(errors="replace").strip()
