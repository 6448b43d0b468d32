"""A sandbox: wherever a provider can run a command."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from attrs import field, frozen

from ._context import Context
from ._image import Image
from ._liveness import Liveness
from ._process import Command, Process


@frozen(kw_only=True)
class SandboxSpec:
    """What to create.

    Attributes:
        name: unique in the run, of letters, digits and dashes.
        run_id: the run that it is for; a label that goes into the create call itself.
        project: the project that it is for; another such label.
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
    """A handle on one sandbox. Making the handle does no I/O; the sandbox was made by `Provider.create`.

    `offload_core.kit.ShellSandbox` brings `upload` and `download` for sandboxes that have a shell and `tar`.
    """

    def __init__(self, ref: SandboxRef, context: Context) -> None:
        self.ref = ref
        self.context = context

    @property
    def root(self) -> PurePosixPath:
        """The project's root in this sandbox. The default is the one the configuration names."""
        return self.context.sandbox_root or PurePosixPath("/")

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

        The core hands in commands that went through `offload_core.kit.launched`: the argument list is run as it is.

        Raises:
            ExecFailed: the command could not be started.
            SandboxDead: the sandbox is dead.
            ConnectionLost: the backend could not be reached.

        Cancelled, nothing that was started keeps running.
        """

    @abstractmethod
    async def upload(self, files: Sequence[Upload]) -> None:
        """Bring files and directories into the sandbox, all in one round trip. Overwrites; idempotent.

        Raises:
            UploadFailed: some of them are not there.
            SandboxDead: the sandbox is dead.
        """

    @abstractmethod
    async def download(self, files: Sequence[Download]) -> None:
        """Bring files and directories to the host, all in one round trip. Overwrites; idempotent.

        What comes out of a sandbox is not trusted: archives are taken apart by `offload_core.kit.unpack`.

        Raises:
            RemoteFileMissing: one of them is not in the sandbox; nothing was written.
            DownloadFailed: some of them did not arrive.
            SandboxDead: the sandbox is dead.
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

    @property
    def pushes(self) -> bool:
        """Whether `wait_dead` is more than the default, so that it can tell of a death before polling does."""
        return type(self).wait_dead is not Sandbox.wait_dead

    async def wait_dead(self) -> Liveness:
        """Return when the sandbox has died. Cancelling does nothing to the sandbox.

        The default probes it again and again. Override it where the backend can push; an override that loses its
        connection raises `ConnectionLost`, and is called again. The core polls `Provider.probe_many` in any case.
        """
        while True:
            with contextlib.suppress(Exception):  # a probe that errs is unknown, whatever the error
                async with asyncio.timeout(self.context.liveness.timeout_secs):
                    if (answer := await self.probe()).is_dead:
                        return answer
            await asyncio.sleep(self.context.liveness.interval_secs)
