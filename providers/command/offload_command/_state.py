"""What this process knows of one sandbox, whoever holds a handle on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import PurePosixPath

from attrs import define, field

from offload_core.abc import Liveness, SandboxRef
from offload_core.kit import BackgroundTasks, settle

from ._client import Client


@define(eq=False)
class SandboxState:
    """One sandbox.

    Attributes:
        tasks: get to know what is being killed.
        env: of every command in it.
        cwd: of every command in it that does not say so itself.
        made: this process made it, and has not seen it end.
        dead: gets the reason, however it was learned, and never goes back.
        silent: a command said that it is dead: none is run for it any more.
        destroyed: `destroy_command` has ended it.
        doubted: a command in it has failed since it was last known to be alive.
        probed: when somebody last asked about it, on the clock of the event loop.
        clients: the commands in it that have not ended.
        ending: held by whoever ends it.
    """

    ref: SandboxRef
    tasks: BackgroundTasks
    env: Mapping[str, str] = field(factory=dict)
    cwd: PurePosixPath | None = None
    made: bool = False
    dead: asyncio.Future[Liveness] = field(factory=asyncio.Future)
    silent: bool = False
    destroyed: bool = False
    doubted: bool = False
    probed: float = 0.0
    clients: set[Client] = field(factory=set)
    ending: asyncio.Lock = field(factory=asyncio.Lock)

    def watch(self, client: Client) -> None:
        """Take note of a command in the sandbox: it may tell of its death, and ends with it."""

        def ended(exit: asyncio.Future[int]) -> None:
            self.clients.discard(client)
            self.doubted = self.doubted or exit.result() != 0

        self.clients.add(client)
        client.ended.add_done_callback(ended)
        client.stderr.dead.add_done_callback(lambda reason: self.said_dead(reason.result()))

    def said_dead(self, reason: str) -> None:
        """A command wrote the sentinel."""
        self.silent = True
        self.made = False
        self.die(reason)

    def die(self, reason: str) -> None:
        """Take note of its death. What still runs on this machine for it is killed."""
        settle(self.dead, Liveness.dead(reason))
        self._killing()

    async def kill_clients(self) -> None:
        """Kill what runs on this machine for it; returns when nothing does."""
        if killing := self._killing():
            await asyncio.wait(killing)

    def _killing(self) -> list[asyncio.Task[None]]:
        return [self.tasks.start(client.kill()) for client in self.clients]
