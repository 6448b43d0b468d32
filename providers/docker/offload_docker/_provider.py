"""The provider of sandboxes that are Docker containers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any

from attrs import evolve
from docker import APIClient
from docker.errors import APIError
from typing_extensions import override

from offload_core.abc import Context, Health, Image, Liveness, PrepareRequest, Provider, SandboxRef, SandboxSpec
from offload_core.errors import (
    ConnectionLost,
    CreateFailed,
    NotFound,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
)
from offload_core.kit import BackgroundTasks, naming

from ._connection import resolve
from ._death import GIB
from ._engine import Engine
from ._errors import may_pass
from ._events import RUN_LABEL
from ._health import look
from ._image import Recipe, load
from ._options import DockerOptions
from ._sandbox import DockerSandbox
from ._threads import tell

_NAME, _PROJECT, _EXPIRES = "offload.name", "offload.project", "offload.expires"
_AWAY_SECS = 30.0


class DockerProvider(Provider[DockerOptions]):
    """Sandboxes that are containers, spread over one engine or several.

    Args:
        hello_secs: how long an engine may take to say that it is there.
        list_secs: how long it may take to list containers: the last look of a run may take 10.
    """

    Options = DockerOptions
    contract = 2

    def __init__(
        self, options: DockerOptions, context: Context, *, hello_secs: float = 10.0, list_secs: float = 8.0
    ) -> None:
        super().__init__(options, context)
        self._hello_secs = hello_secs
        self._list_secs = list_secs
        self._carried: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._carrying = BackgroundTasks()
        self._home: Engine | None = None

    @cached_property
    def engines(self) -> Sequence[Engine]:
        """The engines, in the order they are configured in.

        Raises:
            NotFound: a docker context does not exist.
        """
        addresses = resolve(self.options.hosts)
        connections = self.context.max_parallel + 4
        return [Engine(address, connections, self._hello_secs, self.options.memory_gb) for address in addresses]

    @override
    async def prepare(self, request: PrepareRequest) -> Image:
        """On the first engine that answers; from there the image is carried to the others."""
        loop = asyncio.get_running_loop()

        def progress(line: str) -> None:
            tell(loop, request.progress, line)  # from the thread that builds

        recipe = Recipe(
            options=self.options,
            request=evolve(request, progress=progress),
            root=self.context.sandbox_root or PurePosixPath("/"),
            labels={_PROJECT: request.context.name},
        )
        errors: list[ProviderError] = []
        for engine in self.engines:
            try:
                await engine.hello()
                id = await engine.call(recipe.make, otherwise=PrepareFailed, timeout=None)
            except asyncio.CancelledError:
                recipe.stop.set()
                raise
            except (ConnectionLost, OperationTimedOut) as error:
                errors.append(error)
                continue
            self._home = engine
            image = Image(id=id, key=id)
            await asyncio.gather(*(self._carry_early(image, each) for each in self.engines if each is not engine))
            return image
        with naming("prepare", self):
            raise errors[0]

    async def _carry_early(self, image: Image, engine: Engine) -> None:
        try:
            await self._carry(image, engine)
        except ProviderError as error:
            engine.away_until = time.monotonic() + _AWAY_SECS
            self.context.warn(f"the image could not be brought to the engine at {engine.url}: {error.message}")

    async def _carry(self, image: Image, engine: Engine) -> None:
        """Bring the image to an engine, once."""
        home = self._home
        if home is None or home is engine:
            return
        key = (image.id, engine.url)
        task = self._carried.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._carried[key] = self._carrying.start(self._copy(image, home, engine))
        await asyncio.shield(task)

    @staticmethod
    async def _copy(image: Image, home: Engine, engine: Engine) -> None:
        try:
            await engine.call(lambda client: client.inspect_image(image.id), timeout=engine.hello_secs)
        except NotFound:
            content = await home.call(lambda client: client.get_image(image.id), timeout=None)
            await engine.call(lambda client: load(client, content), otherwise=CreateFailed, timeout=None)

    @override
    async def image_alive(self, image: Image) -> bool:
        try:
            await (self._home or self.engines[0]).call(lambda client: client.inspect_image(image.id))
        except NotFound:
            return False
        return True

    @override
    async def create(self, spec: SandboxSpec) -> DockerSandbox:
        """On the engine with the fewest sandboxes, among those that answer."""
        now = time.monotonic()
        engine = min(self.engines, key=lambda each: (each.away_until > now, len(each.sandboxes)))
        place = f"starting-{spec.name}"
        engine.sandboxes.add(place)
        with naming("create", self):
            try:
                return await engine.tasks.make(self._create(spec, engine), DockerSandbox.terminate)
            except (ConnectionLost, OperationTimedOut, asyncio.CancelledError):
                engine.away_until = now + _AWAY_SECS  # what cancels it may be the bound of the call that is over
                raise
            except SandboxDead as error:
                raise CreateFailed(f"it died while it was started: {error.message}") from error
            finally:
                engine.sandboxes.discard(place)

    async def _create(self, spec: SandboxSpec, engine: Engine) -> DockerSandbox:
        if spec.image is None:
            raise NotFound("no image: call `prepare` first")
        await self._carry(spec.image, engine)
        await engine.events.connected()
        expires = time.time() + spec.lifetime
        id = await engine.call(partial(self._start, spec, expires), otherwise=CreateFailed)
        engine.sandboxes.add(id)
        engine.events.death(id).add_done_callback(lambda _: engine.sandboxes.discard(id))
        ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, where=engine.url, expires=expires)
        return DockerSandbox(ref, self.context, engine)

    def _start(self, spec: SandboxSpec, expires: float, client: APIClient) -> str:
        """Make a container and start it. Its main process sleeps for the lifetime; then the engine removes it."""
        assert spec.image is not None
        options = self.options
        memory = int(options.memory_gb * GIB) if options.memory_gb is not None else None
        labels = {
            **options.labels,
            RUN_LABEL: spec.run_id,
            _NAME: spec.name,
            _PROJECT: spec.project,
            _EXPIRES: f"{expires:.0f}",
        }
        host = client.create_host_config(
            init=True,
            auto_remove=True,
            network_mode=options.network,
            mem_limit=memory,
            memswap_limit=memory,
            nano_cpus=int(options.cpu_cores * 1e9) if options.cpu_cores is not None else None,
        )
        made = client.create_container(
            spec.image.id,
            name=f"offload-{re.sub('[^A-Za-z0-9_.-]', '-', spec.name)}-{secrets.token_hex(4)}",
            entrypoint=["sleep"],
            command=[f"{math.ceil(spec.lifetime)}"],
            environment={**options.env, **spec.env},
            working_dir=str(spec.cwd) if spec.cwd is not None else None,
            user=options.user,
            labels=labels,
            host_config=host,
        )
        id = str(made["Id"])
        try:
            client.start(id)
        except BaseException:
            with contextlib.suppress(APIError):  # the engine may have removed it by itself
                client.remove_container(id, force=True, v=True)
            raise
        return id

    @override
    def attach(self, ref: SandboxRef) -> DockerSandbox:
        engine = next((each for each in self.engines if each.url == ref.where), self.engines[0])
        return DockerSandbox(ref, self.context, engine)

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """Of several engines, one that does not answer is left out with a warning."""
        label = RUN_LABEL if run_id is None else f"{RUN_LABEL}={run_id}"
        listed = await self._containers(self.engines, self._list_secs, label, all=True)
        errors = [answer for answer in listed.values() if isinstance(answer, ProviderError)]
        if len(errors) == len(listed):
            with naming("list", self):
                raise errors[0]
        for error in errors:
            self.context.warn(f"{error.message}; its sandboxes are not listed")
        return [
            _ref(container, engine.url)
            for engine, answer in listed.items()
            if not isinstance(answer, ProviderError)
            for container in answer
            if container["State"] != "removing"
        ]

    @override
    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """One call to each engine, and one more for each container that does not run."""
        handles = {ref: self.attach(ref) for ref in refs}
        timeout = 0.8 * self.context.liveness.timeout_secs  # before the poller gives up waiting for all engines
        running = await self._containers({handle.engine for handle in handles.values()}, timeout, RUN_LABEL)

        async def probe(handle: DockerSandbox) -> Liveness:
            found = running[handle.engine]
            if isinstance(found, ProviderError):
                return Liveness.unknown(found.message)
            if any(container["Id"] == handle.ref.id for container in found):
                return Liveness.alive()
            return await handle.probe()

        return dict(zip(handles, await asyncio.gather(*map(probe, handles.values())), strict=True))

    @staticmethod
    async def _containers(
        engines: Collection[Engine], timeout: float, label: str, *, all: bool = False
    ) -> dict[Engine, Sequence[Mapping[str, Any]] | ProviderError]:
        """What each engine lists with this label, or why it does not."""

        async def ask(engine: Engine) -> Sequence[Mapping[str, Any]] | ProviderError:
            try:
                return await engine.call(
                    lambda client: client.containers(all=all, filters={"label": label}), timeout=timeout
                )
            except ProviderError as error:
                return error

        return dict(zip(engines, await asyncio.gather(*map(ask, engines)), strict=True))

    @override
    def is_retryable(self, error: ProviderError) -> bool:
        """Server errors and lost connections may pass, what the engine refuses does not."""
        return may_pass(error)

    @override
    async def check(self) -> Health:
        """Whether each engine answers, and whether it has room."""
        return await look(self.options, self.context, lambda: self.engines)

    @override
    async def aclose(self) -> None:
        await self._carrying.aclose(within=0)
        if "engines" in vars(self):
            await asyncio.gather(*(engine.aclose() for engine in self.engines))


def _ref(container: Mapping[str, Any], url: str) -> SandboxRef:
    """What the labels of a container say of it."""
    labels = container["Labels"]
    try:
        expires = float(labels[_EXPIRES])
    except (KeyError, ValueError):
        expires = None
    name = labels.get(_NAME, "")
    return SandboxRef(id=container["Id"], run_id=labels.get(RUN_LABEL, ""), name=name, where=url, expires=expires)
