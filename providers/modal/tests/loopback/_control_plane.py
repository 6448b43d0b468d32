"""The control plane: apps and sandboxes, in both generations of calls."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import secrets as randomness
import string
import time
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ._faults import Faults
from ._gate import Gate
from ._images import Images
from ._jail import Jail
from ._router import Router
from ._sandboxes import Definition, Sandbox

_BASE62 = string.digits + string.ascii_letters
_STARTS_AT_ONCE = 8
_PAGE = 100
_TOKEN_SECS = 3600


class ControlPlane:
    """Apps, environments, tokens and sandboxes; images, mounts and secrets have classes of their own."""

    def __init__(self, state: Path, router: Router, faults: Faults, images: Images) -> None:
        self._state = state
        self._router = router
        self._faults = faults
        self._images = images
        self._apps: dict[str, str] = {}
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._numbers = itertools.count(1)
        self._creating: set[asyncio.Task[None]] = set()
        self.sandboxes: dict[str, Sandbox] = {}
        self.capacity: int | None = None

    async def ClientHello(self, request: Empty) -> api_pb2.ClientHelloResponse:
        """The server is there."""
        return api_pb2.ClientHelloResponse()

    async def AuthTokenGet(self, request: api_pb2.AuthTokenGetRequest) -> api_pb2.AuthTokenGetResponse:
        """A token that nobody checks."""
        return api_pb2.AuthTokenGetResponse(token=_token())

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Every environment exists."""
        settings = api_pb2.EnvironmentSettings(image_builder_version="2025.06")
        name = request.deployment_name or "main"
        metadata = api_pb2.EnvironmentMetadata(name=name, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id=f"en-{name}", metadata=metadata)

    async def AppGetOrCreate(self, request: api_pb2.AppGetOrCreateRequest) -> api_pb2.AppGetOrCreateResponse:
        """An app by name."""
        if request.app_name not in self._apps:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            self._apps[request.app_name] = f"ap-{_random_id()}"
        return api_pb2.AppGetOrCreateResponse(app_id=self._apps[request.app_name])

    async def SandboxCreateV2(self, request: api_pb2.SandboxCreateV2Request) -> api_pb2.SandboxCreateV2Response:
        """Start a sandbox of the second generation."""
        env = self._images.secrets.environment(request.secret_sources)
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        sandbox = await self._create(
            f"sb-{_random_id()}v", self._definition(request.app_id, request.definition, env), tags
        )
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=api_pb2.SandboxHandleMetadata(app_id=request.app_id),
            command_router_access=api_pb2.CommandRouterAccess(url=sandbox.gate.url, jwt=_token()),
        )

    async def SandboxCreate(self, request: api_pb2.SandboxCreateRequest) -> api_pb2.SandboxCreateResponse:
        """Start a sandbox of the first generation."""
        env = self._images.secrets.environment(
            api_pb2.SecretSource(secret_id=each) for each in request.definition.secret_ids
        )
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        sandbox = await self._create(
            f"sb-{_random_id()}", self._definition(request.app_id, request.definition, env), tags
        )
        metadata = api_pb2.SandboxHandleMetadata(app_id=request.app_id)
        return api_pb2.SandboxCreateResponse(sandbox_id=sandbox.id, metadata=metadata)

    async def SandboxWaitV2(self, request: api_pb2.SandboxWaitRequest) -> api_pb2.SandboxWaitResponse:
        """The end of a sandbox, or nothing when it has not ended within the request's timeout."""
        sandbox = self._sandbox(request.sandbox_id)
        if request.timeout and sandbox.result is None:
            try:
                async with asyncio.timeout(request.timeout):
                    await sandbox.announced.wait()
            except TimeoutError:
                pass
        metadata = api_pb2.SandboxHandleMetadata(app_id=sandbox.definition.app_id)
        return api_pb2.SandboxWaitResponse(result=sandbox.result, metadata=metadata)

    SandboxWait = SandboxWaitV2

    async def SandboxTerminateV2(self, request: api_pb2.SandboxTerminateRequest) -> api_pb2.SandboxTerminateResponse:
        """End a sandbox; one that had ended keeps its result, which is now known."""
        sandbox = self._sandbox(request.sandbox_id)
        existing = sandbox.result
        await sandbox.die("TERMINATED", 137, "gone", 0)
        return api_pb2.SandboxTerminateResponse(existing_result=existing)

    SandboxTerminate = SandboxTerminateV2

    async def SandboxListV2(self, request: api_pb2.SandboxListRequest) -> api_pb2.SandboxListResponse:
        """A page of the sandboxes that are alive as far as the control plane knows, the youngest first."""
        wanted = {tag.tag_name: tag.tag_value for tag in request.tags}
        second = request.before_timestamp or float("inf")
        found = [
            sandbox
            for sandbox in self.sandboxes.values()
            if sandbox.result is None
            and sandbox.created_at < second
            and request.app_id in ("", sandbox.definition.app_id)
            and wanted.items() <= sandbox.tags.items()
        ]
        found.sort(key=lambda sandbox: sandbox.created_at, reverse=True)
        return api_pb2.SandboxListResponse(sandboxes=[_info(sandbox) for sandbox in found[:_PAGE]])

    SandboxList = SandboxListV2

    async def SandboxTagsGetV2(self, request: api_pb2.SandboxTagsGetRequest) -> api_pb2.SandboxTagsGetResponse:
        """The tags of a sandbox."""
        return api_pb2.SandboxTagsGetResponse(tags=_tags(self._sandbox(request.sandbox_id)))

    SandboxTagsGet = SandboxTagsGetV2

    async def SandboxTagsSetV2(self, request: api_pb2.SandboxTagsSetRequest) -> Empty:
        """Replace the tags of a sandbox."""
        self._sandbox(request.sandbox_id).tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    SandboxTagsSet = SandboxTagsSetV2

    async def SandboxGetTaskIdV2(self, request: api_pb2.SandboxGetTaskIdRequest) -> api_pb2.SandboxGetTaskIdResponse:
        """The task of a sandbox, and its result if it has ended."""
        sandbox = self._sandbox(request.sandbox_id)
        return api_pb2.SandboxGetTaskIdResponse(task_id=sandbox.task_id, task_result=sandbox.result)

    SandboxGetTaskId = SandboxGetTaskIdV2

    async def SandboxGetCommandRouterAccess(
        self, request: api_pb2.SandboxGetCommandRouterAccessRequest
    ) -> api_pb2.SandboxGetCommandRouterAccessResponse:
        """Where a sandbox's command router is."""
        sandbox = self._sandbox(request.sandbox_id) if request.sandbox_id else self._task(request.task_id)
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=sandbox.gate.url, jwt=_token())

    async def TaskGetCommandRouterAccess(
        self, request: api_pb2.TaskGetCommandRouterAccessRequest
    ) -> api_pb2.TaskGetCommandRouterAccessResponse:
        """Where a task's command router is."""
        return api_pb2.TaskGetCommandRouterAccessResponse(url=self._task(request.task_id).gate.url, jwt=_token())

    def _definition(self, app_id: str, wanted: api_pb2.Sandbox, env: dict[str, str]) -> Definition:
        image = self._images.get(wanted.image_id)
        return Definition(
            app_id=app_id,
            image_id=wanted.image_id,
            command=tuple(wanted.entrypoint_args) or image.command,
            env={**image.env, **env},
            workdir=wanted.workdir or image.workdir,
            timeout_secs=wanted.timeout_secs,
            idle_timeout_secs=wanted.idle_timeout_secs,
            mount_ids=tuple(wanted.mount_ids),
        )

    async def _create(self, sandbox_id: str, definition: Definition, tags: dict[str, str]) -> Sandbox:
        alive = sum(sandbox.died_at is None for sandbox in self.sandboxes.values())
        if self.capacity is not None and alive >= self.capacity:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "No capacity is left for another sandbox")
        layers = self._images.get(definition.image_id).layers
        jail = Jail(self._state, f"sandbox-{next(self._numbers)}", layers)
        task_id = f"ta-{_random_id()}{'V' if sandbox_id.endswith('v') else ''}"
        gate = Gate(self._router.socket, lambda: self._faults.connected(sandbox_id))
        sandbox = Sandbox(sandbox_id, task_id, definition, tags, jail, gate)
        self.sandboxes[sandbox_id] = sandbox
        self._router.add(sandbox)
        self._faults.know(task_id, sandbox_id)
        starting = asyncio.create_task(self._start(sandbox))
        self._creating.add(starting)
        starting.add_done_callback(self._creating.discard)
        # A client that gives up does not stop what it asked for.
        await asyncio.shield(starting)
        return sandbox

    async def _start(self, sandbox: Sandbox) -> None:
        async with self._starts:
            await self._images.files.extract(sandbox.definition.mount_ids, sandbox.jail.upper)
            try:
                await sandbox.start()
            except RuntimeError:
                if sandbox.died_at is None:
                    raise  # else it was killed while it was made: it is there, and dead

    async def close(self) -> None:
        """End every sandbox."""
        for starting in self._creating:
            starting.cancel()
        await asyncio.gather(*self._creating, return_exceptions=True)
        await asyncio.gather(*(sandbox.close() for sandbox in self.sandboxes.values()))

    def _sandbox(self, sandbox_id: str) -> Sandbox:
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox {sandbox_id} not found")
        return sandbox

    def _task(self, task_id: str) -> Sandbox:
        for sandbox in self.sandboxes.values():
            if sandbox.task_id == task_id:
                return sandbox
        raise GRPCError(Status.NOT_FOUND, f"Task {task_id} not found")


def _info(sandbox: Sandbox) -> api_pb2.SandboxInfo:
    return api_pb2.SandboxInfo(
        id=sandbox.id,
        created_at=sandbox.created_at,
        task_info=api_pb2.TaskInfo(id=sandbox.task_id, result=sandbox.result),
        app_id=sandbox.definition.app_id,
        tags=_tags(sandbox),
        image_id=sandbox.definition.image_id,
        timeout_secs=sandbox.definition.timeout_secs,
        idle_timeout_secs=sandbox.definition.idle_timeout_secs,
        metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.definition.app_id),
    )


def _tags(sandbox: Sandbox) -> list[api_pb2.SandboxTag]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in sandbox.tags.items()]


def _random_id() -> str:
    return "".join(randomness.choice(_BASE62) for _ in range(22))


def _token() -> str:
    """A JSON web token that says when it expires, unsigned."""
    parts = ({"alg": "none"}, {"exp": time.time() + _TOKEN_SECS})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "sig"])
