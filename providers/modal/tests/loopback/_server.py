"""The server in a thread of its own, and what it can be told to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from ._control_plane import ControlPlane
from ._faults import Faults
from ._files import Files
from ._gate import Gate, Mode
from ._http import HttpSide
from ._images import Images
from ._router import Router
from ._rpc import LimitedServer, Service
from ._sandboxes import RouterMode, Sandbox, Status
from ._secrets import Secrets

_T = TypeVar("_T")
MANY_STREAMS = 10_000
_MEMORY = "/dev/shm"
"""Where the sandboxes' files are: overlayfs refuses layers that lie below one another, and `/` is the lowest."""


@attrs.frozen
class SandboxState:
    """A sandbox as the server sees it, whatever it tells its clients."""

    id: str
    tags: dict[str, str]
    alive: bool
    announced: bool
    router: RouterMode
    url: str
    """Where its command router is, or was."""
    died_at: float | None
    """On the clock of time.monotonic(), which is the same in every process of a machine."""


class Loopback:
    """A Modal server on the loopback interface, with the commands for its faults.

    It runs in a thread with an event loop of its own from `start` to `stop`; it is a context manager. Every method
    can be called from any other thread, and returns when what it commands is in effect.
    """

    def __init__(self, *, streams: int = MANY_STREAMS) -> None:
        """`streams`: HTTP/2 calls allowed at once on one connection."""
        self._streams = streams
        self._parts = contextlib.AsyncExitStack()
        self._state = Path()
        self.commands_url = ""
        """Where the commands can be given over HTTP: `POST /<method>` with its arguments as a JSON object."""

    def start(self) -> Self:
        """Serve; returns when clients can connect.

        Raises:
            RuntimeError: this process has not root's rights, or namespaces or overlay mounts are not allowed here.
        """
        if os.geteuid():
            # Overlayfs takes `/` as a layer, with mounts of the machine below it, from nobody else.
            raise RuntimeError("the loopback Modal server makes mounts, which needs root's rights")
        _allow_many_files()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-modal")
        self._state = Path(tempfile.mkdtemp(prefix="loopback-modal-", dir=_MEMORY))
        self._thread.start()
        try:
            self._do(self._start())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every sandbox and the server; nothing is left of them: no process, mount, port or file."""
        self._do(self._parts.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._state)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the SDK uses this server; they must be set before `modal` is imported."""
        return {
            "MODAL_SERVER_URL": self._gate.url,
            "MODAL_TOKEN_ID": "ak-loopback",
            "MODAL_TOKEN_SECRET": "as-loopback",
            "MODAL_CONFIG_PATH": str(self._state / "no-such-file.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
        }

    def sandboxes(self) -> list[SandboxState]:
        """Every sandbox there ever was, the oldest first."""
        return self._do(self._states())

    def kill(
        self,
        sandbox_id: str,
        *,
        status: Status = "TERMINATED",
        exitcode: int = 137,
        router: RouterMode = "refuse",
        announce: float | None = 0.0,
    ) -> None:
        """Let a sandbox die: its processes are killed.

        `router` is what its command router does from then on; `announce` says after how many seconds the control
        plane knows of the death, and None means never (a terminate announces it all the same).
        """
        self._do(self._sandbox(sandbox_id).die(status, exitcode, router, announce))

    def announce(self, sandbox_id: str) -> None:
        """Let the control plane know of a death now."""
        self._loop.call_soon_threadsafe(self._sandbox(sandbox_id).announce)

    def router(self, sandbox_id: str, mode: RouterMode) -> None:
        """Change how a sandbox's command router behaves, dead or alive."""
        self._do(self._sandbox(sandbox_id).set_router(mode))

    def control_plane(self, mode: Mode) -> None:
        """Change how the control plane's own port behaves."""
        self._do(self._gate.set(mode))

    def slow(self, method: str, secs: float) -> None:
        """Answer calls of `method` (or `*`) only after so many seconds; 0 ends it."""
        self._faults.slow(method, secs)

    def fail(
        self,
        method: str,
        status: str,
        message: str = "",
        times: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Answer calls of `method` (or `*`) with a gRPC status: the next `times`, or all of them; `OK` ends it.

        `retry_after`: seconds after which the SDK is told to try again, which it then does by itself.
        """
        self._faults.fail(method, status, message, times, retry_after)

    def capacity(self, sandboxes: int | None) -> None:
        """Refuse to create more than so many living sandboxes; None ends it."""
        self._control.capacity = sandboxes

    def secret(self, name: str, values: dict[str, str]) -> None:
        """Define a secret, as one would on Modal's site."""
        self._secrets.define(name, values)

    def forget_image(self, image_id: str) -> None:
        """Behave as if the image had never been built."""
        self._images.forget(image_id)

    def calls(self, sandbox_id: str | None = None, since: float = 0.0) -> Counter[str]:
        """How many calls of each method arrived: about one sandbox or all, from `since` on (time.monotonic())."""
        return self._faults.count(sandbox_id, since)

    def calls_since_death(self, sandbox_id: str) -> Counter[str]:
        """How many calls of each method arrived about a sandbox after its death, announced or not."""
        died_at = self._sandbox(sandbox_id).died_at
        return self._faults.count(sandbox_id, time.monotonic() if died_at is None else died_at)

    def _sandbox(self, sandbox_id: str) -> Sandbox:
        return self._control.sandboxes[sandbox_id]

    def _do(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _states(self) -> list[SandboxState]:
        return [
            SandboxState(
                id=sandbox.id,
                tags=dict(sandbox.tags),
                alive=sandbox.died_at is None,
                announced=sandbox.result is not None,
                router=sandbox.router,
                url=sandbox.gate.url,
                died_at=sandbox.died_at,
            )
            for sandbox in self._control.sandboxes.values()
        ]

    async def _start(self) -> None:
        (self._state / "files").mkdir()
        self._secrets = Secrets()
        self._faults = Faults()
        self._files = Files(self._state / "files")
        self._images = Images(self._state, self._files, self._secrets)
        self._parts.push_async_callback(self._images.close)
        await self._images.check()
        router = Router(str(self._state / "router.sock"), self._secrets)
        await self._serve([Service(TaskCommandRouterBase, router, self._faults.before)], router.socket)
        self._control = ControlPlane(self._state, router, self._faults, self._images)
        self._parts.push_async_callback(self._control.close)
        parts = (self._control, self._images, self._files, self._secrets)
        services = [Service(ModalClientBase, part, self._faults.before) for part in parts]
        socket = str(self._state / "control.sock")
        await self._serve(services, socket)
        http = HttpSide(self._files, {name: getattr(self, name) for name in _COMMANDS})
        self._parts.push_async_callback(http.stop)
        self.commands_url = self._files.url = await http.start()
        self._gate = Gate(socket)
        self._parts.push_async_callback(self._gate.close)
        await self._gate.set("up")

    async def _serve(self, services: list[Service], path: str) -> None:
        server = LimitedServer(services, self._streams)
        await server.start(path=path)
        self._parts.push_async_callback(_close, server)


_COMMANDS = (
    "announce",
    "calls",
    "calls_since_death",
    "capacity",
    "control_plane",
    "fail",
    "forget_image",
    "kill",
    "router",
    "sandboxes",
    "secret",
    "slow",
)


async def _close(server: LimitedServer) -> None:
    server.close()
    await server.wait_closed()


def _allow_many_files() -> None:
    """A sandbox needs about ten open files, here and in the client, which may be this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
