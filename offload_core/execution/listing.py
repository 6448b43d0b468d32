"""Lists the tests of a run: on the host, in a sandbox watched and bounded like any other, or in test sessions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..abc import Collected, Group, Launch
from ..discovery import Discovery, Found, GroupListing
from ..events import DiscoveryFinished, DiscoveryStarted
from .ending import terminated
from .setup import Setup


class Listing:
    """Lists every group once.

    With `discover_in = "sandbox"`, and a framework whose sessions can list, one session lists and goes on to run tests;
    if it ends before it is done, the next one begins anew.

    Args:
        found: called with the tests of one module after the other.
    """

    def __init__(self, setup: Setup, found: Found) -> None:
        request = setup.request
        self._setup = setup
        self._found = found
        self._begun: set[str] = set()
        self._by_sessions = request.discover_in == "sandbox" and request.framework.sessions_list
        self._groups: dict[str, GroupListing] = {}
        if self._by_sessions:
            self._groups = {group.name: GroupListing(group, setup.bus, found) for group in request.groups}
        self._claimed = False
        self._listed = asyncio.Event()

    async def run(self) -> None:
        """List all groups.

        Raises:
            ProviderError: where they were being listed failed: no fault of theirs.
        """
        if self._by_sessions:
            await self._listed.wait()
        elif self._setup.request.discover_in == "sandbox":
            await self._in_a_sandbox()
        else:
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

    # -- by sessions ----------------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Whether a session that is about to be opened is the one to list. It has to be released at its end."""
        if self._claimed or not self._groups:
            return False
        self._claimed = True
        return True

    def take(self, event: Collected) -> bool:
        """What the session that lists has found. Returns whether all is listed."""
        listing = self._groups.get(event.group)
        if listing is None:
            return not self._groups  # an earlier session has listed it
        if event.group not in self._begun:
            self._begun.add(event.group)
            listing.begin()
        for each in event.found:
            listing.take(each)
        if event.complete:
            del self._groups[event.group]
            listing.end(event.error, its_own=bool(event.error))
        if not self._groups:
            self._listed.set()
        return not self._groups

    def release(self) -> None:
        """The session that lists has ended; what is not listed is for another one."""
        self._claimed = False

    # -- the end --------------------------------------------------------------------------------------------------

    def settle(self, why: str) -> None:
        """Say of every group that was not listed, or not to its end, why."""
        for group in self._setup.request.groups:
            if group.name not in self._begun:
                self._setup.bus.emit(DiscoveryStarted(group=group.name))
                self._setup.bus.emit(DiscoveryFinished(group=group.name, count=0, error=why))
        for name, listing in self._groups.items():
            if name in self._begun:
                listing.end(why)
