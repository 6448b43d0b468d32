"""What the sandboxes, sessions and listings of one run are made from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..abc import Group, Image, Launch, Sandbox, SandboxSpec
from ..errors import ProviderError
from ..events import Bus, Incident, IncidentKind, LogLine, PrepareFinished, PrepareStarted
from ..liveness import DeathWatch, Poller
from ..retry import RetryPolicy
from .guarded import GuardedExecutor
from .host import HostExecutor
from .request import RunRequest


class Setup:
    """The image, once it is there, and what is made from it.

    Attributes:
        retry: for every operation on the provider.
        poller: for every death watch.
        prepared: set when the image is there, or none is needed.
    """

    def __init__(self, request: RunRequest, bus: Bus) -> None:
        self.request = request
        self.bus = bus
        self.retry = RetryPolicy(request.provider, request.retry, bus.emit)
        self.poller = Poller(request.provider)
        self.prepared = asyncio.Event()
        self._image: Image | None = None

    async def prepare(self) -> None:
        """Make the image, or find that none is needed.

        Raises:
            ProviderError: it could not be made.
        """
        request, provider = self.request, self.request.provider
        self.bus.emit(PrepareStarted(provider=provider.context.name))
        try:
            # Building an image takes as long as it takes, and shows its progress meanwhile.
            image = await self.retry.call("prepare", lambda: provider.prepare(request.prepare), bounded=False)
        except ProviderError as error:
            self.bus.emit(PrepareFinished(error=str(error)))
            self.bus.emit(Incident(kind=IncidentKind.PREPARE_FAILED, reason=str(error)))
            raise
        self._image = image
        self.bus.emit(PrepareFinished(image_id=image.id if image else "", image_key=image.key if image else ""))
        self.prepared.set()

    def spec(self, name: str) -> SandboxSpec:
        """What a sandbox of this name is made from."""
        request = self.request
        return SandboxSpec(
            name=name,
            run_id=request.run_id,
            project=request.project,
            image=self._image,
            env=request.env,
            cwd=request.provider.context.sandbox_root,
            lifetime=request.offload.sandbox_lifetime_secs,
        )

    async def create(self, name: str) -> Sandbox:
        """Create a sandbox.

        Raises:
            ProviderError: as `Provider.create`.
        """
        return await self.retry.call("create", lambda: self.request.provider.create(self.spec(name)))

    def watch(self, sandbox: Sandbox) -> DeathWatch:
        """A death watch on a sandbox."""
        return DeathWatch(sandbox, self.poller)

    def launch(self, watch: DeathWatch, name: str, worker: int = 0) -> Launch:
        """Where a framework's commands run in a sandbox."""
        sandbox = watch.sandbox
        return Launch(
            name=name,
            executor=GuardedExecutor(watch, self.retry),
            root=sandbox.root,
            scratch=sandbox.scratch,
            env={**self.request.command_env, "OFFLOAD_ROOT": str(sandbox.root)},
            worker=worker,
            log=self._logger(name),
        )

    def host_launch(self, group: Group, scratch: Path) -> Launch:
        """Where a framework lists a group on this host. `scratch`: a directory for all groups."""
        root = self.request.project_dir
        name = f"discovery-{group.name}"
        return Launch(
            name=name,
            executor=HostExecutor(),
            root=PurePosixPath(root),
            scratch=PurePosixPath(scratch / name),
            env={**self.request.command_env, "OFFLOAD_ROOT": str(root)},
            log=self._logger(name),
        )

    def _logger(self, name: str) -> Callable[[str], None]:
        return lambda line: self.bus.emit(LogLine(sandbox=name, session=name, line=line))
