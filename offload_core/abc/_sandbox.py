"""A sandbox: wherever a provider can run a command."""

from __future__ import annotations

import asyncio
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from ..errors import DownloadFailed, RemoteFileMissing, UploadFailed
from ._archive import MAX_UNPACKED_BYTES, pack, unpack
from ._image import Image
from ._launcher import launched
from ._liveness import Liveness
from ._process import Command, Completed, Process

if TYPE_CHECKING:
    from ._provider import Provider

_CHUNK = 1 << 18
_MISSING = 44  # exit code of the download command; tar itself uses 0, 1 and 2
_DOWNLOAD = f"""\
for file do [ -e "/$file" ] || {{ echo "/${{file#./}}" >&2; exit {_MISSING}; }}; done
exec tar -cf - -C / -- "$@"
"""


@frozen(kw_only=True)
class SandboxSpec:
    """What to create.

    Attributes:
        name: unique in the run, of letters, digits and dashes.
        run_id, project: labels that go into the create call itself.
        image: what `prepare` returned.
        env: the environment of everything that runs in it.
        cwd: absolute directory that commands start in; None for the image's own.
        lifetime: seconds after which the backend, where it can, ends the sandbox by itself.
    """

    name: str
    run_id: str
    project: str = ""
    image: Image | None = None
    env: Mapping[str, str] = field(factory=dict)
    cwd: PurePosixPath | None = None
    lifetime: float = 3600.0


@frozen(kw_only=True)
class SandboxRef:
    """Enough to find a sandbox again from another process.

    Attributes:
        id: the backend's id.
        run_id: the run that it is labelled with, empty if the backend does not tell.
        name: the spec's name, if the backend tells.
        where: what else the backend needs: an engine, a region.
        expires: seconds since the epoch at which its lifetime is over, if the backend tells.
    """

    id: str
    run_id: str = field(default="", eq=False)
    name: str = field(default="", eq=False)
    where: str = ""
    expires: float | None = field(default=None, eq=False)


@frozen
class Upload:
    """A file or directory on the host, or bytes, and the absolute path it gets in the sandbox. Parents are made."""

    source: Path | bytes
    target: PurePosixPath
    mode: int = 0o644


@frozen
class Download:
    """An absolute path of a file or directory in the sandbox, and the path it gets on the host. Parents are made."""

    source: PurePosixPath
    target: Path


class Sandbox(ABC):
    """A handle on one sandbox. Making the handle does no I/O; the sandbox was made by `Provider.create`."""

    def __init__(self, provider: Provider[Any], ref: SandboxRef) -> None:
        self.provider = provider
        self.ref = ref

    @property
    def root(self) -> PurePosixPath:
        """The project's root in this sandbox. The default is the one the configuration names."""
        return self.provider.context.sandbox_root or PurePosixPath("/")

    @property
    def shares_root(self) -> bool:
        """Whether `root` is a directory of this host that other sandboxes work in, too. The default says no."""
        return False

    @property
    def scratch(self) -> PurePosixPath:
        """A directory of this sandbox's own. Need not exist yet."""
        return PurePosixPath("/tmp") / f"offload-{self.ref.name or self.ref.id}"

    @abstractmethod
    async def exec(self, command: Command) -> Process:
        """Start a command; returns as soon as it has started. Not idempotent, and never retried.

        The core hands in commands that went through `launched`: the provider runs the argument list as it is.

        Raises:
            ExecFailed: the command could not be started.
            SandboxDead: the sandbox is dead.
            ConnectionLost: the backend could not be reached.
        Cancelled, nothing that was started keeps running.
        """

    @abstractmethod
    async def probe(self) -> Liveness:
        """Is it alive? Cheap; the caller bounds it. Never raises for a dead sandbox; any error counts as unknown."""

    @abstractmethod
    async def terminate(self) -> None:
        """End it, with everything in it. Idempotent: ending what is dead or gone is success.

        Raises:
            ProviderError: it may still be there.
        """

    async def wait_dead(self) -> Liveness:
        """Return when the sandbox has died. Cancelling does nothing to the sandbox.

        The default shares one polling loop over `Provider.probe_many`; override it where the backend can push. An
        override that loses its connection raises `ConnectionLost`; it is called again, and polling goes on meanwhile.
        """
        return await self.provider.poller.wait_dead(self.ref)

    async def upload(self, files: Sequence[Upload]) -> None:
        """Bring files and directories into the sandbox, all in one round trip. Overwrites; idempotent.

        The default pipes one tar archive into `tar -x`, which the sandbox must have.

        Raises:
            UploadFailed: some of them are not there.
            SandboxDead: the sandbox is dead.
        """
        if not files:
            return
        with tempfile.TemporaryFile() as archive:
            try:
                await asyncio.to_thread(pack, files, archive)
            except OSError as error:
                raise UploadFailed(f"cannot read it here: {error}", operation="upload", sandbox=self.ref.id) from error
            archive.seek(0)
            process = await self.exec(launched(Command(argv=("tar", "-xf", "-", "-C", "/"))))
            try:
                done = await process.communicate(iter(lambda: archive.read(_CHUNK), b""))
            except BaseException:
                await process.abandon()
                raise
        if not done.exit.ok:
            raise UploadFailed(f"tar: {done.exit}: {_tail(done.stderr)}", operation="upload", sandbox=self.ref.id)

    async def download(self, files: Sequence[Download]) -> None:
        """Bring files and directories to the host, all in one round trip. Overwrites; idempotent.

        Archives are not trusted: see `unpack`. The default reads one tar archive from `tar -c`.

        Raises:
            RemoteFileMissing: one of them is not in the sandbox; nothing was written.
            DownloadFailed: some of them did not arrive.
            SandboxDead: the sandbox is dead.
        """
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

            process = await self.exec(launched(command))
            try:
                done = await process.communicate(keep=keep)
            except BaseException:
                await process.abandon()
                raise
            if done.exit.code == _MISSING:
                missing = f"no such file: {_tail(done.stderr)}"
                raise RemoteFileMissing(missing, operation="download", sandbox=self.ref.id)
            if not done.exit.ok:
                said = f"tar: {done.exit}: {_tail(done.stderr)}"
                raise DownloadFailed(said, operation="download", sandbox=self.ref.id)
            archive.seek(0)
            await asyncio.to_thread(unpack, archive, files)

    async def run(self, command: Command, stdin: bytes = b"") -> Completed:
        """Run a command to its end and return what it wrote. For small outputs; a convenience, not to be overridden.

        Raises:
            TimeoutError: `command.timeout` was over; the command was killed.
            ProviderError: as `exec`.
        Cancelled, the command is killed.
        """
        process = await self.exec(launched(command))
        try:
            async with asyncio.timeout(command.timeout):
                return await process.communicate([stdin] if stdin else [])
        except BaseException:
            await process.abandon()
            raise


def _tail(data: bytes, limit: int = 2000) -> str:
    return data[-limit:].decode(errors="replace").strip()
