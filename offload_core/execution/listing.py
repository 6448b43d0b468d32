"""Lists the tests of a run: on the host, or in a sandbox that is watched and bounded like any other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ..abc import Group, Launch, Test
from ..discovery import Discovery
from ..events import DiscoveryFinished, DiscoveryStarted
from .ending import terminated
from .setup import Setup


class Listing:
    """Lists every group once.

    Args:
        found: called with the tests of one module after the other.
    """

    def __init__(self, setup: Setup, found: Callable[[Sequence[Test]], None]) -> None:
        self._setup = setup
        self._found = found
        self._begun: set[str] = set()

    async def run(self) -> None:
        """List all groups.

        Raises:
            ProviderError: where they were being listed failed: no fault of theirs.
        """
        if self._setup.request.discover_in == "sandbox":
            return await self._in_a_sandbox()
        with tempfile.TemporaryDirectory(prefix="offload-discovery-") as scratch:
            await self._list(lambda group: self._setup.host_launch(group, Path(scratch)))

    async def _in_a_sandbox(self) -> None:
        """In one that is there for nothing else."""
        setup = self._setup
        await setup.prepared.wait()
        sandbox = await setup.create("discovery")
        since = setup.bus.clock()
        async with setup.watch(sandbox) as watch:
            try:
                await watch.guard(self._list(lambda group: setup.launch(watch, f"discovery-{group.name}")))
            finally:
                within = setup.request.timing.terminate
                await terminated(watch, setup.retry, setup.bus, since=since, within=within)

    async def _list(self, launch: Callable[[Group], Launch]) -> None:
        request = self._setup.request
        discovery = Discovery(
            framework=request.framework,
            launch=launch,
            bus=self._setup.bus,
            found=self._found,
            at_once=request.offload.max_parallel_collection,
            begun=self._begun,
        )
        await discovery.run(request.groups)

    def settle(self, why: str) -> None:
        """Say of every group that was not listed why."""
        for group in self._setup.request.groups:
            if group.name not in self._begun:
                self._setup.bus.emit(DiscoveryStarted(group=group.name))
                self._setup.bus.emit(DiscoveryFinished(group=group.name, count=0, error=why))
