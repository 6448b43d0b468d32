"""One Docker Engine, with what is known of the containers that were made there."""

from __future__ import annotations

from typing_extensions import override

from offload_core.abc import AsyncResource
from offload_core.kit import BackgroundTasks

from ._connection import CALL_SECS, Address, Connection
from ._events import Events


class Engine(Connection):
    """One Docker Engine, from the first call to `aclose`.

    Args:
        address, connections, hello_secs: as for `Connection`.
        memory_gb: the limit of the containers that are made there, for the wording of their deaths.

    Attributes:
        sandboxes: ids of the containers that were made there and are not known to be dead.
        processes: the commands that run there.
        tasks: what has to come to its end, whether or not somebody waits for it.
        away_until: monotonic time until which no new sandbox is tried there.
    """

    def __init__(self, address: Address, connections: int, hello_secs: float, memory_gb: float | None) -> None:
        super().__init__(address, connections, hello_secs)
        self.sandboxes: set[str] = set()
        self.processes: set[AsyncResource] = set()
        self.tasks = BackgroundTasks()
        self.away_until = 0.0
        self.events = Events(self, memory_gb)

    @override
    async def aclose(self) -> None:
        await self.tasks.aclose(within=CALL_SECS / 4)
        for process in tuple(self.processes):
            await process.aclose()
        await self.events.aclose()
        await super().aclose()
