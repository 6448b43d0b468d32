"""The provider of sandboxes at Modal."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import modal
from modal import exception as modal_errors

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
from offload_core.errors import CapacityExhausted, CreateFailed, NotFound, ProviderError, SandboxDead

from ._errors import is_refusal, translated
from ._image import build
from ._options import ModalOptions
from ._sandbox import ModalSandbox

T = TypeVar("T")

TAG = "offload"
RUN_TAG = "offload-run"
PROJECT_TAG = "offload-project"
NAME_TAG = "offload-name"
EXPIRES_TAG = "offload-expires"

_BULK_FROM = 9  # sandboxes: from here on one listing costs less than a call for each
_TAGS_AT_ONCE = 8
_TERMINATIONS_AT_ONCE = 16
_TERMINATE_SECS = 30.0
_TERMINATE_TRIES = 5
_UNDO_SECS = 120.0
_AFTER_SECS = 3600  # the main process outlives the lifetime, so that Modal tells which of the two was over
_CHECK_SECS = 20.0
_CLOSE_SECS = 30.0


class ModalProvider(Provider[ModalOptions]):
    """Sandboxes at Modal, by its own SDK."""

    Options = ModalOptions

    def __init__(self, options: ModalOptions, context: Context) -> None:
        super().__init__(options, context)
        self.pushes = 0
        self._sandboxes: dict[str, ModalSandbox] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._undoing: set[asyncio.Task[None]] = set()
        self._app: asyncio.Task[modal.App] | None = None

    # -- the SDK -----------------------------------------------------------------------------------------------------

    async def client(self) -> modal.Client:
        """The SDK's connection, which this process shares."""
        return await modal.Client.from_env.aio()

    async def app(self) -> modal.App:
        """The app that all sandboxes belong to, looked up once."""
        if self._app is None or (self._app.done() and (self._app.cancelled() or self._app.exception() is not None)):
            self._app = self.keep(self._look_up(create=True), "look-up of the app")
        return await asyncio.shield(self._app)

    async def _look_up(self, *, create: bool) -> modal.App:
        return await modal.App.lookup.aio(
            self.options.app_name,
            client=await self.client(),
            environment_name=self.options.environment,
            create_if_missing=create,
        )

    def keep(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task that `aclose` ends."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_look_at)
        return task

    # -- images ------------------------------------------------------------------------------------------------------

    async def prepare(self, request: PrepareRequest) -> Image | None:
        """As the contract says."""
        try:
            return await build(self.options, request, await self.app(), self.context)
        except (ProviderError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise translated(error, "prepare", provider=self.context.name) from error

    async def image_alive(self, image: Image) -> bool:
        """As the contract says: Modal is asked whether it has it."""
        try:
            await modal.Image.from_id(image.id, client=await self.client()).build.aio(await self.app())
        except modal_errors.NotFoundError:
            return False
        except Exception as error:
            raise translated(error, "prepare", provider=self.context.name) from error
        return True

    # -- sandboxes ---------------------------------------------------------------------------------------------------

    async def create(self, spec: SandboxSpec) -> ModalSandbox:
        """As the contract says: the tags are part of the call that makes it."""
        making = self.keep(self._make(spec), f"making of {spec.name}")
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            undoing = asyncio.create_task(self._undo(making), name=f"end of a cancelled making of {spec.name}")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise

    async def _make(self, spec: SandboxSpec) -> ModalSandbox:
        lifetime = max(1, math.ceil(min(spec.lifetime, self.options.timeout_secs)))
        expires = math.ceil(time.time()) + lifetime
        try:
            handle = await self._ordered(spec, lifetime, expires)
        except Exception as error:
            raise translated(error, "create", provider=self.context.name) from error
        ref = SandboxRef(id=handle.object_id, run_id=spec.run_id, name=spec.name, expires=expires)
        sandbox = self._sandboxes[ref.id] = ModalSandbox(self, ref, handle)
        try:
            # Modal returns as soon as it has a place for it; its first command opens the connection to it.
            await (await sandbox.exec(Command(argv=("true",)))).wait()
        except BaseException as error:
            with contextlib.suppress(ProviderError):
                await sandbox.terminate()
            if isinstance(error, SandboxDead):
                raise CreateFailed(
                    f"it died while it was made: {error.message}",
                    operation="create",
                    sandbox=ref.id,
                    provider=self.context.name,
                ) from error
            raise
        return sandbox

    async def _ordered(self, spec: SandboxSpec, lifetime: int, expires: int) -> modal.Sandbox:
        options, app, client = self.options, await self.app(), await self.client()
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

    async def _undo(self, making: asyncio.Task[ModalSandbox]) -> None:
        """Finish a creation that was cancelled, and end what it made."""
        await asyncio.wait({making}, timeout=_UNDO_SECS)
        if not making.done():
            making.cancel()
        elif not making.cancelled() and making.exception() is None:
            await self.terminate_many([making.result().ref])

    def attach(self, ref: SandboxRef) -> ModalSandbox:
        """As the contract says."""
        if ref.id not in self._sandboxes:
            self._sandboxes[ref.id] = ModalSandbox(self, ref)
        return self._sandboxes[ref.id]

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """As the contract says, by the tags."""
        tags = {TAG: "1"} if run_id is None else {RUN_TAG: _tag(run_id)}
        try:
            handles = await self._living(tags)
            if run_id is not None:
                return [SandboxRef(id=handle.object_id, run_id=run_id) for handle in handles]
            limit = asyncio.Semaphore(_TAGS_AT_ONCE)
            found = await asyncio.gather(*(_tagged(handle, limit) for handle in handles))
        except Exception as error:
            raise translated(error, "list", provider=self.context.name) from error
        return [ref for ref in found if ref is not None]

    async def _living(self, tags: dict[str, str]) -> Sequence[modal.Sandbox]:
        """All that Modal calls alive, without what this object knows to be dead."""
        app = await self.app()
        handles: dict[str, modal.Sandbox] = {}
        async for handle in modal.Sandbox.list.aio(app_id=app.app_id, tags=tags, client=await self.client()):
            known = self._sandboxes.get(handle.object_id)
            if handle.returncode is None and not (known and known.death.gone.done()):
                handles[handle.object_id] = handle
        return tuple(handles.values())

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """As the contract says: many by one listing. What is not on it is asked about, for a list may be late."""
        if len(refs) < _BULK_FROM:
            return await super().probe_many(refs)
        runs = {ref.run_id for ref in refs}
        tags = {RUN_TAG: _tag(runs.pop())} if len(runs) == 1 and "" not in runs else {TAG: "1"}
        living = {handle.object_id for handle in await self._living(tags)}
        others = await super().probe_many([ref for ref in refs if ref.id not in living])
        alive = {ref: self.attach(ref).death.seen(Liveness.alive()) for ref in refs if ref.id in living}
        return {**alive, **others}

    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """As the contract says: 16 at a time, more slowly when Modal limits the rate. Never by app: others use it."""
        limit = asyncio.Semaphore(_TERMINATIONS_AT_ONCE)
        failed: dict[SandboxRef, ProviderError] = {}

        async def terminate(ref: SandboxRef) -> None:
            async with limit:
                try:
                    async with asyncio.timeout(_TERMINATE_SECS):
                        await self._terminate(ref)
                except ProviderError as error:
                    failed[ref] = error
                except Exception as error:  # one that breaks must not keep the others from being tried
                    failed[ref] = translated(error, "terminate", sandbox=ref.id, provider=self.context.name)

        await asyncio.gather(*map(terminate, refs))
        return failed

    async def _terminate(self, ref: SandboxRef) -> None:
        for attempt in range(_TERMINATE_TRIES):
            try:
                return await self.attach(ref).terminate()
            except CapacityExhausted:
                if attempt == _TERMINATE_TRIES - 1:
                    raise
                await asyncio.sleep(0.25 * 2**attempt * random.uniform(1, 2))

    # -- the rest ----------------------------------------------------------------------------------------------------

    def is_retryable(self, error: ProviderError) -> bool:
        """As the contract says, and not what Modal refused for what was asked."""
        return super().is_retryable(error) and not is_refusal(error.__cause__)

    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate:
        """As the contract says: the cores that are reserved."""
        amount = seconds * self.options.cpu_cores * self.options.price_per_cpu_second
        leaves_out = "memory, GPUs, what is used above the reserved cores, and discounts"
        return CostEstimate(amount, leaves_out=leaves_out)

    async def check(self) -> Health:
        """As the contract says."""
        try:
            async with asyncio.timeout(_CHECK_SECS):
                await self._look_up(create=False)
        except modal_errors.NotFoundError:
            found = f"Modal answers; the app {self.options.app_name!r} is made by the first run"
            return Health((Finding(Severity.OK, found),))
        except Exception as error:
            meaning = translated(error, "check")
            return Health((Finding(Severity.ERROR, meaning.message, _todo(meaning)),))
        return Health((Finding(Severity.OK, f"Modal answers; there is the app {self.options.app_name!r}"),))

    async def aclose(self) -> None:
        """As the contract says. The SDK's connection is the process's, and stays."""
        if self._undoing:
            await asyncio.wait(self._undoing, timeout=_CLOSE_SECS)
        watches = [watch for sandbox in self._sandboxes.values() if (watch := sandbox.death.stop()) is not None]
        left: set[asyncio.Task[Any]] = {*self._undoing, *self._tasks, *watches}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSE_SECS)
        await super().aclose()


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


def _todo(error: ProviderError) -> str:
    if isinstance(error, NotFound):
        return "look at `environment` in `[provider]`"
    return "run `modal token new`, or look at the network and at https://status.modal.com"


def _look_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
