"""Images: layers that are really built, above a base that stands for every image of a registry."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from ._builder import Build, BuildFailed, Image
from ._files import Files
from ._host import hide_data
from ._jail import Jail
from ._secrets import Secrets

_OK = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
_FAILED = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The same on every server: the SDK remembers its default image for the life of the process.
_PUBLISHED = f"im-{'0' * 22}"


@attrs.define
class _Building:
    task: asyncio.Task[Image]
    log: list[str] = attrs.field(factory=list)


class Images:
    """Images by id; the id comes from the definition, so what is built once is there for the next."""

    def __init__(self, state: Path, files: Files, secrets: Secrets) -> None:
        self._state = state
        self.files = files
        self.secrets = secrets
        self._images: dict[str, Image] = {}
        self._building: dict[str, _Building] = {}
        self._numbers = itertools.count(1)
        mask = state / "base"
        mask.mkdir()
        hide_data(mask)
        env = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
        }
        self.base = Image(layers=("base",), env=env)
        self._images[_PUBLISHED] = self.base

    async def check(self) -> None:
        """See that sandboxes can be made on this machine.

        Raises:
            RuntimeError: they cannot; the message has the system's own words.
        """
        jail = Jail(self._state, "check", self.base.layers)
        await jail.start(("sleep", "infinity"), self.base.env, "/")
        await jail.kill()

    def get(self, image_id: str) -> Image:
        """A built image.

        Raises:
            GRPCError: NOT_FOUND if there is none.
        """
        if image_id not in self._images:
            raise GRPCError(Status.NOT_FOUND, f"Image {image_id} not found")
        return self._images[image_id]

    def forget(self, image_id: str) -> None:
        """Behave from now on as if the image had never been built."""
        self._images.pop(image_id, None)

    async def ImageGetOrCreate(self, request: api_pb2.ImageGetOrCreateRequest) -> api_pb2.ImageGetOrCreateResponse:
        """The id of a layer, which is built if it was not yet, or if the request insists."""
        definition = request.image.SerializeToString(deterministic=True)
        image_id = f"im-{hashlib.sha256(definition).hexdigest()[:22]}"
        fresh = request.force_build or request.ignore_cache
        if image_id in self._images and not fresh:
            return _got(image_id)
        if request.namespace == api_pb2.DEPLOYMENT_NAMESPACE_GLOBAL:
            # Modal publishes these ready-made; the machine's own programs stand for what is in them.
            return _got(_PUBLISHED)
        building = self._building.get(image_id)
        if building is None or building.task.done():
            self._start(image_id, request.image)
        return api_pb2.ImageGetOrCreateResponse(image_id=image_id)

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        """The log of a build, when it is over, and its result."""
        building = self._building.get(request.image_id)
        log: list[str] = []
        result = api_pb2.GenericResult(status=_OK)
        if building is not None:
            log = building.log
            try:
                await asyncio.shield(building.task)
            except BuildFailed as error:
                result = api_pb2.GenericResult(status=_FAILED, exception=str(error))
        elif request.image_id not in self._images:
            raise GRPCError(Status.NOT_FOUND, f"Image {request.image_id} not found")
        lines = [api_pb2.TaskLogs(data=line) for line in log]
        yield api_pb2.ImageJoinStreamingResponse(result=result, task_logs=lines, entry_id="1-0", eof=True)

    async def ImageFromId(self, request: api_pb2.ImageFromIdRequest) -> api_pb2.ImageFromIdResponse:
        """An image that was built before."""
        self.get(request.image_id)
        return api_pb2.ImageFromIdResponse(image_id=request.image_id)

    async def close(self) -> None:
        """Give up every build."""
        tasks = [building.task for building in self._building.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, image_id: str, definition: api_pb2.Image) -> None:
        log: list[str] = []
        bases = {base.docker_tag: self.get(base.image_id) for base in definition.base_images}
        sources = [api_pb2.SecretSource(secret_id=secret) for secret in definition.secret_ids]
        build = Build(
            state=self._state,
            name=f"image-{next(self._numbers)}",
            registry=self.base,
            bases=bases,
            secrets=self.secrets.environment(sources),
            log=log,
        )
        self._building[image_id] = _Building(asyncio.create_task(self._build(image_id, build, definition)), log)

    async def _build(self, image_id: str, build: Build, definition: api_pb2.Image) -> Image:
        context = self._state / f"{build.name}-context"
        context.mkdir()
        if definition.context_mount_id:
            await self.files.extract([definition.context_mount_id], context)
        for file in definition.context_files:
            path = context / file.filename.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
        image = await build.run(definition.dockerfile_commands, context, definition.build_args)
        self._images[image_id] = image
        return image


def _got(image_id: str) -> api_pb2.ImageGetOrCreateResponse:
    return api_pb2.ImageGetOrCreateResponse(image_id=image_id, result=api_pb2.GenericResult(status=_OK))
