"""The provider of sandboxes that are Docker containers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath

from attrs import evolve
from docker import APIClient
from docker.errors import APIError

from offload_core.abc import (
    Context,
    Health,
    Image,
    Liveness,
    PrepareRequest,
    Provider,
    SandboxRef,
    SandboxSpec,
)
from offload_core.errors import (
    ConnectionLost,
    CreateFailed,
    NotFound,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
)

from ._death import GIB
from ._engine import HELLO_SECS, Engine, resolve
from ._errors import may_pass
from ._events import RUN_LABEL
from ._health import look
from ._image import Recipe, load
from ._options import DockerOptions
from ._sandbox import DockerSandbox
from ._threads import tell

_NAME, _PROJECT, _EXPIRES = "offload.name", "offload.project", "offload.expires"
_AWAY_SECS = 30.0
_LIST_SECS = 8.0  # the last look of a run may take 10


class DockerProvider(Provider[DockerOptions]):
    """Sandboxes that are containers, spread over one engine or several."""

    Options = DockerOptions

    def __init__(self, options: DockerOptions, context: Context) -> None:
        super().__init__(options, context)
        self._carried: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._home: Engine | None = None

    @cached_property
    def engines(self) -> Sequence[Engine]:
        """The engines, in the order they are configured in.

        Raises:
            NotFound: a docker context does not exist.
        """
        addresses = resolve(self.options.hosts)
        connections = self.context.max_parallel + 4
        return [Engine(address, connections, self.options.memory_gb) for address in addresses]

    # -- images ---------------------------------------------------------------------------------------------------

    async def prepare(self, request: PrepareRequest) -> Image:
        """As the contract says: on the first engine that answers; from there the image is carried to the others."""
        loop = asyncio.get_running_loop()
        recipe = Recipe(
            options=self.options,
            request=evolve(request, progress=lambda line: _tell(loop, request, line)),
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
        raise self._named(errors[0], "prepare")

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
            task = self._carried[key] = asyncio.ensure_future(self._copy(image, home, engine))
        await asyncio.shield(task)

    @staticmethod
    async def _copy(image: Image, home: Engine, engine: Engine) -> None:
        try:
            await engine.call(lambda client: client.inspect_image(image.id), timeout=HELLO_SECS)
        except NotFound:
            content = await home.call(lambda client: client.get_image(image.id), timeout=None)
            await engine.call(lambda client: load(client, content), otherwise=CreateFailed, timeout=None)

    async def image_alive(self, image: Image) -> bool:
        """As the contract says."""
        try:
            await (self._home or self.engines[0]).call(lambda client: client.inspect_image(image.id))
        except NotFound:
            return False
        return True

    # -- sandboxes ------------------------------------------------------------------------------------------------

    async def create(self, spec: SandboxSpec) -> DockerSandbox:
        """As the contract says: on the engine with the fewest sandboxes, among those that answer."""
        now = time.monotonic()
        engine = min(self.engines, key=lambda each: (each.away_until > now, len(each.sandboxes)))
        place = f"starting-{spec.name}"
        engine.sandboxes.add(place)
        creating = asyncio.ensure_future(self._create(spec, engine))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            engine.away_until = now + _AWAY_SECS  # it may be the bound of the call that is over
            engine.finish(_discard(creating))
            raise
        except (ConnectionLost, OperationTimedOut) as error:
            engine.away_until = now + _AWAY_SECS
            raise self._named(error, "create") from error.__cause__
        except SandboxDead as error:
            raise self._named(CreateFailed(f"it died while it was started: {error.message}"), "create") from error
        except ProviderError as error:
            raise self._named(error, "create") from error.__cause__
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
        ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, where=engine.url, expires=expires)
        return DockerSandbox(self, ref, engine)

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

    def attach(self, ref: SandboxRef) -> DockerSandbox:
        """As the contract says."""
        engine = next((each for each in self.engines if each.url == ref.where), self.engines[0])
        return DockerSandbox(self, ref, engine)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """As the contract says. Of several engines, one that does not answer is left out with a warning."""
        found = await asyncio.gather(*(self._list(each, run_id) for each in self.engines), return_exceptions=True)
        refs: list[SandboxRef] = []
        errors: list[ProviderError] = []
        for answer in found:
            if isinstance(answer, ProviderError):
                errors.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                refs += answer
        if errors and len(errors) == len(found):
            raise self._named(errors[0], "list") from errors[0].__cause__
        for error in errors:
            self.context.warn(f"{error.message}; its sandboxes are not listed")
        return refs

    async def _list(self, engine: Engine, run_id: str | None) -> Sequence[SandboxRef]:
        label = RUN_LABEL if run_id is None else f"{RUN_LABEL}={run_id}"
        containers = await engine.call(
            lambda client: client.containers(all=True, filters={"label": label}), timeout=_LIST_SECS
        )
        return [
            SandboxRef(
                id=each["Id"],
                run_id=each["Labels"].get(RUN_LABEL, ""),
                name=each["Labels"].get(_NAME, ""),
                where=engine.url,
                expires=_number(each["Labels"].get(_EXPIRES)),
            )
            for each in containers
            if each["State"] != "removing"
        ]

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """As the contract says: one call to each engine, and one more for each container that does not run."""
        handles = {ref: self.attach(ref) for ref in refs}
        engines = {handle.engine for handle in handles.values()}
        running = dict(zip(engines, await asyncio.gather(*map(self._running, engines)), strict=True))

        async def probe(handle: DockerSandbox) -> Liveness:
            found = running[handle.engine]
            if isinstance(found, ProviderError):
                return Liveness.unknown(found.message)
            return Liveness.alive() if handle.ref.id in found else await handle.probe()

        return dict(zip(handles, await asyncio.gather(*map(probe, handles.values())), strict=True))

    async def _running(self, engine: Engine) -> set[str] | ProviderError:
        timeout = 0.8 * self.context.liveness.timeout_secs  # before the poller gives up waiting for all engines
        try:
            found = await engine.call(lambda client: client.containers(filters={"label": RUN_LABEL}), timeout=timeout)
        except ProviderError as error:
            return error
        return {each["Id"] for each in found}

    # -- the rest -------------------------------------------------------------------------------------------------

    def is_retryable(self, error: ProviderError) -> bool:
        """As the contract says: server errors and lost connections may pass, what the engine refuses does not."""
        return may_pass(error)

    async def check(self) -> Health:
        """As the contract says: whether each engine answers, and whether it has room."""
        return await look(self)

    def _named(self, error: ProviderError, operation: str) -> ProviderError:
        error.operation, error.provider = operation, self.context.name
        return error

    async def aclose(self) -> None:
        """As the contract says."""
        await super().aclose()
        if "engines" in vars(self):
            for task in self._carried.values():
                task.cancel()
            await asyncio.gather(*self._carried.values(), return_exceptions=True)
            await asyncio.gather(*(engine.aclose() for engine in self.engines))


def _tell(loop: asyncio.AbstractEventLoop, request: PrepareRequest, line: str) -> None:
    """From the thread that builds: the loop's own listeners are called on the loop."""
    tell(loop, request.progress, line)


async def _discard(creating: asyncio.Future[DockerSandbox]) -> None:
    """End what was made although nobody wants it any more."""
    try:
        sandbox = await creating
    except ProviderError:
        return
    try:
        await sandbox.terminate()
    except SandboxDead:
        return


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
