"""The event stream of one engine: one connection tells of the deaths of all its containers and of their commands."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from docker.errors import DockerException
from docker.types import CancellableStream

from offload_core.abc import Liveness
from offload_core.errors import ConnectionLost
from offload_core.kit import settle

from ._connection import Connection
from ._death import KILLED, dead
from ._errors import RAISED
from ._threads import in_thread, tell

RUN_LABEL = "offload.run_id"
"""Each container of Offload has it."""

_FILTERS = {"type": "container", "event": ["die", "oom", "destroy", "exec_die"], "label": RUN_LABEL}
_CLOSE_SECS = 5.0
_RECENT_SECS = 2.0


class Events:
    """What an engine tells of containers of Offload, from the first `connected` on.

    The stream can drop: whoever waits is told, by `ConnectionLost`, and connects again. What happened between is found
    by a probe. Deaths are remembered: a container that has died is soon removed, and then nothing else knows why.

    Args:
        memory_gb: the limit of the engine's containers.
    """

    def __init__(self, connection: Connection, memory_gb: float | None) -> None:
        self.memory_gb = memory_gb
        self._connection = connection
        self._deaths: defaultdict[str, asyncio.Future[Liveness]] = defaultdict(asyncio.Future)
        self._exits: defaultdict[str, asyncio.Future[int]] = defaultdict(asyncio.Future)
        self._shortages: defaultdict[str, float] = defaultdict(lambda: -math.inf)  # when its memory ran out
        self._shortage = asyncio.Event()  # set for those who wait now, and cleared at once
        self._connecting: asyncio.Task[asyncio.Future[None]] | None = None
        self._stream: CancellableStream[Any] | None = None
        self._reading: asyncio.Future[None] | None = None

    async def connected(self) -> asyncio.Future[None]:
        """Connect if that is not so already; returns a future that is done when the stream has dropped.

        Raises:
            ProviderError: the engine cannot be reached.
        """
        known = self._connecting
        if known is None or (known.done() and (known.cancelled() or known.exception() or known.result().done())):
            known = asyncio.create_task(self._connect(), name=f"events of {self._connection.url}")
            self._connecting = known
        return await asyncio.shield(known)

    async def wait_dead(self, id: str, dropped: asyncio.Future[None]) -> Liveness:
        """Wait for a container's death.

        Args:
            dropped: what `connected` returned.

        Raises:
            ConnectionLost: the stream dropped first.
        """
        death = self.death(id)
        both: set[asyncio.Future[Any]] = {death, dropped}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not death.done():
            raise ConnectionLost(f"the event stream of the engine at {self._connection.url} broke off")
        return death.result()

    def death(self, id: str) -> asyncio.Future[Liveness]:
        """Done when a container is known to be dead. Shared: not to be cancelled."""
        return self._deaths[id]

    def died(self, id: str, why: Liveness) -> Liveness:
        """Record a death; what is known first stays. Returns that."""
        death = self.death(id)
        settle(death, why)
        return death.result()

    def exit(self, exec_id: str) -> asyncio.Future[int]:
        """Gets the exit code of a command that is about to be started. Shared: not to be cancelled."""
        return self._exits[exec_id]

    def forget(self, exec_id: str) -> None:
        """A command has ended."""
        self._exits.pop(exec_id, None)

    async def ran_short(self, id: str, since: float, patience: float) -> bool:
        """Whether a container's memory has run out since a moment of the loop's clock.

        The engine may tell of it later than of the end of what was killed for it, so this waits for `patience` seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._shortages[id] < since:
                    await self._shortage.wait()
        return self._shortages[id] >= since

    async def _connect(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        dropped: asyncio.Future[None] = loop.create_future()
        await self._connection.hello()  # the stream itself may be silent for as long as it likes
        stream = await self._connection.call(lambda client: client.events(decode=True, filters=_FILTERS))

        def read() -> None:
            # ValueError and AttributeError: of a stream that was closed meanwhile.
            with contextlib.suppress(*RAISED, ValueError, AttributeError):
                for event in stream:
                    if not tell(loop, self._happened, event):
                        return
            tell(loop, settle, dropped, None)

        self._reading = asyncio.ensure_future(in_thread(read))
        self._reading.add_done_callback(lambda _: settle(dropped, None))
        self._stream = stream
        return dropped

    def _happened(self, event: Mapping[str, Any]) -> None:
        id, attributes = event["Actor"]["ID"], event["Actor"]["Attributes"]
        match event["Action"]:
            case "oom":
                self._shortages[id] = asyncio.get_running_loop().time()
                self._shortage.set()
                self._shortage.clear()
            case "exec_die":
                if exit := self._exits.get(attributes["execID"]):
                    settle(exit, int(attributes["exitCode"]))
            case "die":
                code = int(attributes["exitCode"])
                now = asyncio.get_running_loop().time()
                short = code == KILLED and now - self._shortages[id] < _RECENT_SECS
                self.died(id, dead(code, out_of_memory=short, memory_gb=self.memory_gb))
            case "destroy":
                self.died(id, Liveness.dead("removed"))

    async def aclose(self) -> None:
        """Close the stream."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._stream is not None:
            with contextlib.suppress(DockerException, OSError, AttributeError):  # it may be closed, or not closable
                self._stream.close()
            self._stream = None
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_CLOSE_SECS)
            self._reading.cancel()
