"""The sandboxes of this machine: what this process made is known at once, all others are found by their traces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from attrs import frozen

from offload_core.abc import Context, Liveness, SandboxRef
from offload_core.errors import ProviderError
from offload_core.kit import BackgroundTasks

from . import _traces
from ._link import Link
from ._options import LocalOptions

_END_SECS = 20.0  # the supervisor itself gives up after 10


@frozen(eq=False)
class Instance:
    """A sandbox that this process made.

    Attributes:
        link: to its supervisor.
        directory: its private one.
        root: the working directory, or this sandbox's copy of it.
        cwd: where commands start that do not say where.
    """

    link: Link
    directory: Path
    root: Path
    cwd: Path

    @property
    def liveness(self) -> Liveness:
        """Whether it is alive, as its supervisor tells at once."""
        return self.link.gone.result() if self.link.gone.done() else Liveness.alive()

    async def end(self) -> str:
        """End it and see that nothing of it is left; why something may be, or an empty string."""
        link = self.link
        link.end()
        _, waiting = await asyncio.wait({link.gone}, timeout=_END_SECS)
        if waiting:
            link.process.kill()
            await asyncio.wait({link.gone}, timeout=_END_SECS)
        if link.orderly and not self.directory.exists():
            return ""
        id = self.directory.name
        failed = await asyncio.to_thread(_traces.remove, {id}, [self.directory], link.sessions)
        return failed.get(id, "")


class Host:
    """What sandboxes and their provider know of this machine.

    Attributes:
        instances: what was made here, by id; also what has ended.
    """

    def __init__(self, options: LocalOptions, context: Context) -> None:
        self.options = options
        self.instances: dict[str, Instance] = {}
        self._context = context
        self._endings: dict[str, asyncio.Task[str]] = {}
        self._tasks = BackgroundTasks()

    @cached_property
    def working_dir(self) -> Path:
        """Where commands run on this machine, and what `isolation = "copy"` copies."""
        return Path(self._context.project_dir, self.options.working_dir or "").resolve()

    def add(self, id: str, instance: Instance) -> None:
        """Take over what was started: however it dies, nothing of it is left."""
        self.instances[id] = instance
        instance.link.gone.add_done_callback(lambda _: self._ending(id))

    def directory_of(self, ref: SandboxRef) -> Path:
        """The private directory of a sandbox."""
        instance = self.instances.get(ref.id)
        return instance.directory if instance else _traces.base() / _traces.plain(ref.run_id) / ref.id

    async def probe(self, refs: Sequence[SandboxRef]) -> dict[SandboxRef, Liveness]:
        """Whether they are alive; at most one look at the process table, for what others made."""
        foreign = any(ref.id not in self.instances for ref in refs)
        traces = await asyncio.to_thread(_traces.find) if foreign else {}

        def answer(ref: SandboxRef) -> Liveness:
            if instance := self.instances.get(ref.id):
                return instance.liveness
            if ref.id in traces and traces[ref.id].supervised:
                return Liveness.alive()
            return Liveness.dead("no process of it runs on this machine")

        return {ref: answer(ref) for ref in refs}

    async def terminate(self, refs: Sequence[SandboxRef]) -> dict[SandboxRef, ProviderError]:
        """End them: what this process made by its supervisor, the rest by its marks. Goes on if it is cancelled.

        Returns:
            Those of which something may still be there, with the reason.
        """
        endings = {ref.id: self._ending(ref.id) for ref in refs if ref.id in self.instances}
        if endings:
            await asyncio.wait(endings.values())
        failed = {id: ending.result() for id, ending in endings.items()}
        if others := {ref.id for ref in refs} - endings.keys():
            failed |= await asyncio.to_thread(_traces.remove, others)
        name = self._context.name
        return {
            ref: ProviderError(why, operation="terminate", sandbox=ref.id, provider=name)
            for ref in refs
            if (why := failed.get(ref.id))
        }

    def _ending(self, id: str) -> asyncio.Task[str]:
        """The one task that ends a sandbox and looks that nothing is left; a new one if that failed before."""
        task = self._endings.get(id)
        if task is None or (task.done() and task.result()):
            task = self._endings[id] = self._tasks.start(self.instances[id].end(), name=f"end of {id}")
        return task

    async def aclose(self) -> None:
        """Wait for what is ending."""
        await self._tasks.aclose()
