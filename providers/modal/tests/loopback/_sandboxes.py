"""The sandboxes of the server: what each one is, and how each one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
from modal_proto import api_pb2

from ._execution import Execution
from ._gate import Gate
from ._jail import Jail

Status = Literal[
    "SUCCESS",
    "FAILURE",
    "TERMINATED",
    "TIMEOUT",
    "INIT_FAILURE",
    "INTERNAL_FAILURE",
    "IDLE_TIMEOUT",
    "MEMORY_MANAGER_EVICTION",
    "MEMORY_THRASHING_EVICTION",
    "KERNEL_OOM_KILL",
]
RouterMode = Literal["up", "gone", "refuse", "hang", "synhole"]

_IDLE_CHECK_SECS = 0.2


@attrs.frozen
class Definition:
    """What a sandbox is made from."""

    app_id: str
    image_id: str
    command: Sequence[str]
    env: Mapping[str, str]
    workdir: str
    timeout_secs: int
    idle_timeout_secs: int
    mount_ids: Sequence[str]


@attrs.define(eq=False)
class Sandbox:
    """One sandbox, alive or dead."""

    id: str
    task_id: str
    definition: Definition
    tags: dict[str, str]
    jail: Jail
    gate: Gate
    created_at: float = attrs.field(factory=time.time)
    executions: dict[str, Execution] = attrs.field(factory=dict)
    router: RouterMode = "up"
    died_at: float | None = None
    """On the clock of time.monotonic()."""
    result: api_pb2.GenericResult | None = None
    """What the control plane tells; None until the death is announced."""
    announced: asyncio.Event = attrs.field(factory=asyncio.Event)
    _fate: api_pb2.GenericResult | None = None
    _watch: asyncio.Task[None] | None = None
    _later: asyncio.TimerHandle | None = None
    _busy_until: float = attrs.field(factory=time.monotonic)

    async def start(self) -> None:
        """Run the sandbox's own command, and watch over its end, lifetime and idleness."""
        await self.jail.start(self.definition.command, self.definition.env, self.definition.workdir)
        if self.died_at is not None:
            # It was terminated by somebody who found it in the list before it was there.
            await self.jail.kill()
            return
        await self.gate.set("up")
        self._watch = asyncio.create_task(self._watch_end())

    async def set_router(self, mode: RouterMode) -> None:
        """Change how the sandbox's command router behaves from now on."""
        self.router = mode
        await self.gate.set("up" if mode == "gone" else mode)

    async def die(self, status: Status, exitcode: int, router: RouterMode, announce: float | None) -> None:
        """End it: all its processes are killed. `announce`: seconds until the control plane knows; None: never."""
        if self.died_at is None:
            self.died_at = time.monotonic()
            self._fate = api_pb2.GenericResult(status=_NUMBERS[status], exitcode=exitcode)
            # The network fails first: nobody is to see the orderly end of the streams.
            await self.set_router(router)
            await self.jail.kill()
        if announce == 0:
            self.announce()
        elif announce is not None:
            self._later = asyncio.get_running_loop().call_later(announce, self.announce)

    def announce(self) -> None:
        """Let the control plane know of the death, if it has not heard of it."""
        if self._fate is not None and self.result is None:
            self.result = self._fate
            self.announced.set()

    async def close(self) -> None:
        """Kill it and free its port."""
        if self._watch is not None:
            self._watch.cancel()
        if self._later is not None:
            self._later.cancel()
        await self.jail.kill()
        await asyncio.gather(*(execution.close() for execution in self.executions.values()))
        await self.gate.close()

    async def _watch_end(self) -> None:
        over = asyncio.create_task(self.jail.wait())
        idle = asyncio.create_task(self._idle())
        try:
            lifetime = self.definition.timeout_secs or None
            await asyncio.wait({over, idle}, timeout=lifetime, return_when=asyncio.FIRST_COMPLETED)
            if self.died_at is not None:
                return
            if over.done():
                code = over.result()
                await self.die("FAILURE" if code else "SUCCESS", code if code >= 0 else 128 - code, "gone", 0)
            elif idle.done():
                await self.die("IDLE_TIMEOUT", 137, "gone", 0)
            else:
                await self.die("TIMEOUT", 124, "gone", 0)
        finally:
            over.cancel()
            idle.cancel()

    async def _idle(self) -> None:
        allowed = self.definition.idle_timeout_secs
        while not allowed or time.monotonic() - self._busy_until < allowed:
            await asyncio.sleep(_IDLE_CHECK_SECS if allowed else 3600)
            if any(execution.returncode is None for execution in self.executions.values()):
                self._busy_until = time.monotonic()


_NUMBERS = {name[len("GENERIC_STATUS_") :]: number for name, number in api_pb2.GenericResult.GenericStatus.items()}
