"""Lists the tests of all groups at once, and hands each module's tests on as soon as they are known."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, cast

from attrs import field, frozen

from .abc import CollectionFailed, CollectionSkipped, Discovered, Framework, Group, Launch, Test
from .errors import DiscoveryError
from .events import Bus, DiscoveryFinished, DiscoveryStarted, ModuleCollected, Warned

BURST_SECS = 0.05
"""The tests of a module come in a burst; what has waited so long is handed on, whether more of them follow or not."""


@frozen(kw_only=True)
class Discovery:
    """Lists groups.

    Attributes:
        launch: where to list a group.
        found: called with the tests of one module after the other.
        at_once: how many groups are listed at once; 0 for one per CPU.
        begun: the names of the groups whose listing has begun. What began also ends: by a `DiscoveryFinished`.
    """

    framework: Framework[Any]
    launch: Callable[[Group], Launch]
    bus: Bus
    found: Callable[[Sequence[Test]], None]
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
        self.bus.emit(DiscoveryStarted(group=group.name))
        count = 0
        error = ""
        module: list[Test] = []
        timer: asyncio.TimerHandle | None = None

        def hand_on() -> None:
            if module:
                found = tuple(module)
                module.clear()
                self.found(found)

        # An abstract method cannot say that it is an async generator, and `aclosing` has to know.
        stream = cast("Any", self.framework.discover(group, self.launch(group)))
        try:
            async with aclosing(stream):
                async for each in stream:
                    count += 1
                    if not isinstance(each, Test):
                        self.bus.emit(_result(group, each))
                        continue
                    if not module or module[0].path != each.path:
                        hand_on()
                        if timer is not None:
                            timer.cancel()
                        timer = asyncio.get_running_loop().call_later(BURST_SECS, hand_on)
                    module.append(each)
        except DiscoveryError as failure:
            error = str(failure)
            self.bus.emit(_failure(group, error))
        except BaseException as cut:
            error = str(cut) or "it was cut short"
            raise
        finally:
            if timer is not None:
                timer.cancel()
            hand_on()
            self.bus.emit(DiscoveryFinished(group=group.name, count=count, error=error))
        if not count and not error:
            self.bus.emit(
                Warned(f"group '{group.name}' has no tests: look at its filters, and at the framework's paths")
            )


def _failure(group: Group, error: str) -> ModuleCollected:
    message, _, details = error.partition("\n")
    return ModuleCollected(
        key=f"{group.name}:group",
        group=group.name,
        path=f"group {group.name}",
        failed=True,
        message=message,
        details=details,
    )


def _result(group: Group, module: Discovered) -> ModuleCollected:
    assert isinstance(module, (CollectionFailed, CollectionSkipped))
    return ModuleCollected(
        key=f"{group.name}:module:{module.path}",
        group=group.name,
        path=module.path,
        failed=isinstance(module, CollectionFailed),
        message=module.message,
        details=module.details if isinstance(module, CollectionFailed) else "",
    )
