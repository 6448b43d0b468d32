"""Lists the tests of all groups at once, and hands each module's tests on as soon as they are known."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from attrs import define, field, frozen

from .abc import CollectionFailed, Discovered, Framework, Group, Launch, Test
from .errors import DiscoveryError
from .events import Bus, DiscoveryFinished, DiscoveryStarted, ModuleCollected, Warned

BURST_SECS = 0.05
"""The tests of a module come in a burst; what has waited so long is handed on, whether more of them follow or not."""

Found = Callable[[Sequence[Test]], None]
"""Gets the tests of one module after the other."""


@define(eq=False)
class GroupListing:
    """What is found in one group, told as it comes. What began also ends: by a `DiscoveryFinished`.

    It may be found twice, as when the session that lists dies, and another one begins anew: that counts once.
    """

    group: Group
    bus: Bus
    found: Found
    _seen: set[str] = field(factory=set)
    _module: list[Test] = field(factory=list)
    _timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The group is being listed."""
        self.bus.emit(DiscoveryStarted(group=self.group.name))

    def take(self, each: Discovered) -> None:
        """Something was found."""
        key = each.key if isinstance(each, Test) else f"{self.group.name}:module:{each.path}"
        if key in self._seen:
            return
        self._seen.add(key)
        if not isinstance(each, Test):
            details = each.details if isinstance(each, CollectionFailed) else ""
            failed = isinstance(each, CollectionFailed)
            return self._tell(key, each.path, each.message, details=details, failed=failed)
        if not self._module or self._module[0].path != each.path:
            self.hand_on()
            self._timer = asyncio.get_running_loop().call_later(BURST_SECS, self.hand_on)
        self._module.append(each)

    def hand_on(self) -> None:
        """What was found until now need not wait for more of its module."""
        if self._timer is not None:
            self._timer.cancel()
        if self._module:
            found = tuple(self._module)
            self._module.clear()
            self.found(found)

    def end(self, error: str = "", *, its_own: bool = False) -> None:
        """There is no more. `error`: why it could not be listed; `its_own` if that is the group's own fault."""
        self.hand_on()
        if its_own:
            message, _, details = error.partition("\n")
            self._tell(f"{self.group.name}:group", f"group {self.group.name}", message, details=details)
        count = len(self._seen)
        self.bus.emit(DiscoveryFinished(group=self.group.name, count=count, error=error))
        if not count and not error:
            hint = "look at its filters, and at the framework's paths"
            self.bus.emit(Warned(f"group '{self.group.name}' has no tests: {hint}"))

    def _tell(self, key: str, path: str, message: str, *, details: str, failed: bool = True) -> None:
        """A module, or the group itself, is a result."""
        self.bus.emit(
            ModuleCollected(key=key, group=self.group.name, path=path, failed=failed, message=message, details=details)
        )


@frozen(kw_only=True)
class Discovery:
    """Lists groups by commands of their own.

    Attributes:
        launch: where to list a group.
        found: called with the tests of one module after the other.
        at_once: how many groups are listed at once; 0 for one per CPU.
        begun: the names of the groups whose listing has begun.
    """

    framework: Framework[Any]
    launch: Callable[[Group], Launch]
    bus: Bus
    found: Found
    at_once: int = 0
    begun: set[str] = field(factory=set)

    async def run(self, groups: Sequence[Group]) -> None:
        """List every group. One that cannot be listed is a result in state `error`, named after the group.

        Raises:
            ProviderError: where they were being listed failed: no fault of theirs.
        """
        limit = asyncio.Semaphore(self.at_once or os.cpu_count() or 1)

        async def bounded(group: Group) -> None:
            async with limit:
                await self._group(group)

        try:
            async with asyncio.TaskGroup() as tasks:
                for group in groups:
                    tasks.create_task(bounded(group), name=f"discover {group.name}")
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _group(self, group: Group) -> None:
        self.begun.add(group.name)
        listing = GroupListing(group, self.bus, self.found)
        listing.begin()
        # An abstract method cannot say that it is an async generator, and `aclosing` has to know.
        stream = cast("Any", self.framework.discover(group, self.launch(group)))
        try:
            async with aclosing(stream):
                async for each in stream:
                    listing.take(each)
        except DiscoveryError as failure:
            listing.end(str(failure), its_own=True)
        except BaseException as cut:
            listing.end(str(cut) or "it was cut short")
            raise
        else:
            listing.end()
