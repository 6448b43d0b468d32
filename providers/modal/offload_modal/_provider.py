"""The provider of sandboxes at Modal."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Mapping, Sequence

import modal
from modal import exception as modal_errors
from typing_extensions import override

from offload_core.abc import (
    Command,
    Context,
    CostEstimate,
    Finding,
    Health,
    Image,
    Liveness,
    PrepareRequest,
    Provider,
    SandboxRef,
    SandboxSpec,
    Severity,
)
from offload_core.errors import CreateFailed, NotFound, ProviderError, SandboxDead
from offload_core.kit import BackgroundTasks

from ._backend import ModalBackend, Tuning
from ._errors import is_refusal, translated, translating
from ._image import build
from ._options import ModalOptions
from ._sandbox import ModalSandbox

TAG = "offload"
RUN_TAG = "offload-run"
PROJECT_TAG = "offload-project"
NAME_TAG = "offload-name"
EXPIRES_TAG = "offload-expires"

_TAGS_AT_ONCE = 8
_AFTER_SECS = 3600  # the main process outlives the lifetime, so that Modal tells which of the two was over
_CHECK_SECS = 20.0
_CLOSE_SECS = 30.0


class ModalProvider(Provider[ModalOptions]):
    """Sandboxes at Modal, by its own SDK."""

    Options = ModalOptions
    contract = 2
    terminations_at_once = 16

    def __init__(self, options: ModalOptions, context: Context, tuning: Tuning | None = None) -> None:
        super().__init__(options, context)
        self._tuning = tuning or Tuning()
        self._backend = ModalBackend(options, context, self._tuning)
        self._creations = BackgroundTasks()
        self._sandboxes: dict[str, ModalSandbox] = {}

    @override
    async def prepare(self, request: PrepareRequest) -> Image | None:
        with translating("prepare", self):
            return await build(self._backend, request)

    @override
    async def image_alive(self, image: Image) -> bool:
        with translating("prepare", self), contextlib.suppress(modal_errors.NotFoundError):
            known = modal.Image.from_id(image.id, client=await self._backend.client())
            await known.build.aio(await self._backend.app())
            return True
        return False

    @override
    async def create(self, spec: SandboxSpec) -> ModalSandbox:
        """The tags are part of the call that makes it."""
        with translating("create", self):
            return await self._creations.make(self._make(spec), ModalSandbox.terminate)

    async def _make(self, spec: SandboxSpec) -> ModalSandbox:
        lifetime = max(1, math.ceil(min(spec.lifetime, self.options.timeout_secs)))
        expires = math.ceil(time.time()) + lifetime
        handle = await self._call(spec, lifetime, expires)
        ref = SandboxRef(id=handle.object_id, run_id=spec.run_id, name=spec.name, expires=expires)
        sandbox = self._sandboxes[ref.id] = ModalSandbox(ref, self.context, self._backend, handle)
        try:
            # Modal returns as soon as it has a place for it; its first command opens the connection to it.
            await (await sandbox.exec(Command(argv=("true",)))).wait()
        except BaseException as error:
            with contextlib.suppress(ProviderError):
                await sandbox.terminate()
            if isinstance(error, SandboxDead):
                raise CreateFailed(f"it died while it was made: {error.message}", sandbox=ref.id) from error
            raise
        return sandbox

    async def _call(self, spec: SandboxSpec, lifetime: int, expires: int) -> modal.Sandbox:
        options, app, client = self.options, await self._backend.app(), await self._backend.client()
        image = modal.Image.from_id(spec.image.id, client=client) if spec.image is not None else None
        secrets = [modal.Secret.from_name(name, environment_name=options.environment) for name in options.secrets]
        return await modal.Sandbox.create.aio(
            "sleep",
            str(lifetime + _AFTER_SECS),
            app=app,
            client=client,
            image=image,
            tags={
                TAG: "1",
                RUN_TAG: _tag(spec.run_id),
                NAME_TAG: _tag(spec.name),
                EXPIRES_TAG: str(expires),
                **({PROJECT_TAG: _tag(spec.project)} if spec.project else {}),
            },
            env={**options.env, **spec.env},
            secrets=secrets,
            timeout=lifetime,
            idle_timeout=math.ceil(options.idle_timeout_secs) if options.idle_timeout_secs else None,
            workdir=str(spec.cwd) if spec.cwd is not None else None,
            gpu=options.gpu,
            region=options.region,
            cpu=options.cpu_cores,
            memory=math.ceil(options.memory_gb * 1024) if options.memory_gb else None,
            experimental_options=dict(options.experimental_options) or None,
        )

    @override
    def attach(self, ref: SandboxRef) -> ModalSandbox:
        if ref.id not in self._sandboxes:
            self._sandboxes[ref.id] = ModalSandbox(ref, self.context, self._backend)
        return self._sandboxes[ref.id]

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """By the tags."""
        tags = {TAG: "1"} if run_id is None else {RUN_TAG: _tag(run_id)}
        with translating("list", self):
            handles = await self._living(tags)
            if run_id is not None:
                return [SandboxRef(id=handle.object_id, run_id=run_id) for handle in handles]
            limit = asyncio.Semaphore(_TAGS_AT_ONCE)
            found = await asyncio.gather(*(_tagged(handle, limit) for handle in handles))
        return [ref for ref in found if ref is not None]

    async def _living(self, tags: dict[str, str]) -> Sequence[modal.Sandbox]:
        """All that Modal calls alive, without what this object knows to be dead."""
        app, client = await self._backend.app(), await self._backend.client()
        handles: dict[str, modal.Sandbox] = {}
        async for handle in modal.Sandbox.list.aio(app_id=app.app_id, tags=tags, client=client):
            known = self._sandboxes.get(handle.object_id)
            if handle.returncode is None and not (known and known.death.gone.done()):
                handles[handle.object_id] = handle
        return tuple(handles.values())

    @override
    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """Many by one listing. What is not on it is asked about, for a list may be late."""
        if len(refs) < self._tuning.bulk_from:
            return await super().probe_many(refs)
        runs = {ref.run_id for ref in refs}
        tags = {RUN_TAG: _tag(runs.pop())} if len(runs) == 1 and "" not in runs else {TAG: "1"}
        living = {handle.object_id for handle in await self._living(tags)}
        others = await super().probe_many([ref for ref in refs if ref.id not in living])
        alive = {ref: self.attach(ref).death.seen(Liveness.alive()) for ref in refs if ref.id in living}
        return {**alive, **others}

    @override
    def is_retryable(self, error: ProviderError) -> bool:
        """Not what Modal refused for what was asked."""
        return super().is_retryable(error) and not is_refusal(error.__cause__)

    @override
    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate:
        """Of the cores that are reserved."""
        amount = seconds * self.options.cpu_cores * self.options.price_per_cpu_second
        leaves_out = "memory, GPUs, what is used above the reserved cores, and discounts"
        return CostEstimate(amount, leaves_out=leaves_out)

    @override
    async def check(self) -> Health:
        try:
            async with asyncio.timeout(_CHECK_SECS):
                await self._backend.look_up(create=False)
        except modal_errors.NotFoundError:
            found = f"Modal answers; the app {self.options.app_name!r} is made by the first run"
            return Health((Finding(Severity.OK, found),))
        except Exception as error:
            meaning = translated(error, "check")
            return Health((Finding(Severity.ERROR, meaning.message, _remedy(meaning)),))
        return Health((Finding(Severity.OK, f"Modal answers; there is the app {self.options.app_name!r}"),))

    @override
    async def aclose(self) -> None:
        """The SDK's connection is the process's, and stays."""
        await self._creations.aclose(_CLOSE_SECS)
        await self._backend.tasks.aclose(0)


async def _tagged(handle: modal.Sandbox, limit: asyncio.Semaphore) -> SandboxRef | None:
    """A reference with the labels; None if it went meanwhile."""
    async with limit:
        try:
            tags = await handle.get_tags.aio()
        except modal_errors.NotFoundError:
            return None
    expires = tags.get(EXPIRES_TAG, "")
    return SandboxRef(
        id=handle.object_id,
        run_id=tags.get(RUN_TAG, ""),
        name=tags.get(NAME_TAG, ""),
        expires=float(expires) if expires.isdecimal() else None,
    )


def _tag(value: str) -> str:
    """A value that Modal takes as a tag."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", value)[:63]


def _remedy(error: ProviderError) -> str:
    if isinstance(error, NotFound):
        return "look at `environment` in `[provider]`"
    return "run `modal token new`, or look at the network and at https://status.modal.com"
