"""Wrong about ending sandboxes, and about finding them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from offload_core.abc import Liveness, Process, Sandbox, SandboxRef, SandboxSpec
from offload_core.errors import ProviderError

from .base import Case, Wrong, WrongSandbox


class TerminatesOnce(WrongSandbox):
    """Its second `terminate` errs."""

    async def terminate(self) -> None:
        """Once."""
        if (await self.probe()).is_dead:
            raise ProviderError("no such sandbox", operation="terminate")
        await super().terminate()


class TerminateForgets(WrongSandbox):
    """Counts as ended what it was asked to end."""

    _asked = False

    async def terminate(self) -> None:
        """The first time, if it comes to that."""
        if not self._asked:
            self._asked = True
            for _ in range(50):
                await asyncio.sleep(0)
            await super().terminate()


class TerminateWaits(WrongSandbox):
    """Lets commands end first."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._processes: list[Process] = []

    def change(self, process: Any) -> None:
        """Note it."""
        self._processes.append(process)

    async def terminate(self) -> None:
        """When they have ended."""
        await asyncio.gather(*(process.wait() for process in self._processes))
        await super().terminate()


class SharesScratch(WrongSandbox):
    """Gives all sandboxes one directory."""

    @property
    def scratch(self) -> PurePosixPath:
        """That of the first."""
        assert isinstance(self.provider, Wrong)
        return self.provider.made[0].scratch


class ListMisses(Wrong):
    """Leaves one out."""

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """All but the last."""
        return (await super().list(run_id))[:-1]


class ListIgnoresRun(Wrong):
    """Lists everything, whatever it is asked."""

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """All."""
        return await super().list(None)


class TerminatesOnlyItsOwn(Wrong):
    """Does nothing about what another provider object made."""

    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """Only its own."""
        made = {sandbox.ref for sandbox in self.made}
        return await super().terminate_many([ref for ref in refs if ref in made])


class LeavesCancelled(Wrong):
    """Lets a cancelled create go on."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """In a task that is not cancelled."""
        self.creating = asyncio.ensure_future(super().create(spec))
        return await asyncio.shield(self.creating)

    async def aclose(self) -> None:
        """When that is done."""
        await asyncio.wait({self.creating})
        await super().aclose()


class LeavesTask(Wrong):
    """Leaves a task running when it is closed."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """And start a task."""
        self.task = asyncio.create_task(asyncio.sleep(600))
        return await super().create(spec)


class CallsStrangersAlive(Wrong):
    """Takes what it does not know for alive."""

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """Without asking."""
        return dict.fromkeys(refs, Liveness.alive())


CASES = (
    Case(TerminatesOnce, "test_terminate", "`terminate` must .*; it raised .*no such sandbox"),
    Case(TerminateForgets, "test_terminate_cancelled", "`terminate` must work after a cancelled one", hangs=True),
    Case(TerminateWaits, "test_terminate_while_busy", "`terminate` must not wait for anybody to read", hangs=True),
    Case(SharesScratch, "test_many_at_once", "`scratch` must be each sandbox's own"),
    Case(ListMisses, "test_list", "must show the run's sandboxes"),
    Case(ListIgnoresRun, "test_list", "must show the run's sandboxes"),
    Case(TerminatesOnlyItsOwn, "test_attach", "another process ended the sandbox", hangs=True),
    Case(LeavesCancelled, "test_create_cancelled", "must leave no sandbox", hangs=True),
    Case(LeavesTask, "test_probe", "must leave no task running"),
    Case(CallsStrangersAlive, "test_unknown_sandbox", "must not be called alive"),
)
