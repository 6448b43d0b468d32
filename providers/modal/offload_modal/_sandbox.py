"""A handle on a sandbox at Modal."""

from __future__ import annotations

import asyncio
import contextlib

import modal
from modal import exception as modal_errors
from typing_extensions import override

from offload_core.abc import Command, Context, Liveness, Process, SandboxRef
from offload_core.kit import ShellSandbox, naming

from ._backend import ModalBackend
from ._errors import translating
from ._liveness import Death, dead, state_of, unknown_to_modal
from ._process import ModalProcess

_EXEC_SECS = 60.0
_DETACH_SECS = 2.0


class ModalSandbox(ShellSandbox):
    """One sandbox. There is one such object for each sandbox and provider object: `ModalProvider.attach` sees to it."""

    def __init__(
        self, ref: SandboxRef, context: Context, backend: ModalBackend, handle: modal.Sandbox | None = None
    ) -> None:
        super().__init__(ref, context)
        self._backend = backend
        self._handle = handle
        self.death = Death(backend.tasks, self._watch, self._ask, 2 * context.liveness.lost_after_secs)

    async def handle(self) -> modal.Sandbox:
        """The SDK's object; what was attached is looked up once."""
        if self._handle is None:
            self._handle = await modal.Sandbox.from_id.aio(self.ref.id, client=await self._backend.client())
        return self._handle

    @override
    async def exec(self, command: Command) -> Process:
        """OperationTimedOut if it has not started within a minute."""
        with naming("exec", self):
            if command.mark is None:
                return await self._start(command)
            return await self._backend.tasks.make(self._start(command), ModalProcess.kill)

    async def _start(self, command: Command) -> ModalProcess:
        async def start() -> object:
            handle = await self.handle()
            cwd = str(command.cwd) if command.cwd is not None else None
            return await handle.exec.aio(*command.argv, env=dict(command.env), workdir=cwd, text=False)

        inner = await self.death.race(start(), "exec", _EXEC_SECS)
        return ModalProcess(self, command, inner, self.death, self._backend)

    @override
    async def probe(self) -> Liveness:
        """Modal is asked once. Unknown while it says alive, and the worker is silent."""
        if self.death.gone.done():
            return self.death.gone.result()
        return self.death.seen(await self._ask())

    async def _ask(self) -> Liveness:
        try:
            if self._handle is None:
                return state_of(await self.handle())
            code = await self._handle.poll.aio()
        except modal_errors.NotFoundError:
            return unknown_to_modal()
        return Liveness.alive() if code is None else dead(self._handle, code)  # a code of 0 is a death, too

    @override
    async def wait_dead(self) -> Liveness:
        """Pushed by the control plane. Never loses its connection: the push is renewed.

        Beyond so many pushes, it is told of what `ModalProvider.probe_many` hears, until there is room for one more.
        """
        return await asyncio.shield(self.death.watched())

    async def _watch(self) -> Liveness:
        async with self._backend.pushes:
            while True:
                try:
                    handle = await self.handle()
                    with contextlib.suppress(modal_errors.SandboxTimeoutError):
                        await handle.wait.aio(raise_on_termination=False)  # a long poll, again and again
                    return dead(handle, handle.returncode)
                except modal_errors.NotFoundError:
                    return unknown_to_modal()
                except Exception:  # the push is lost, not the sandbox; whoever probes hears of it
                    await asyncio.sleep(self.context.liveness.interval_secs)

    @override
    async def terminate(self) -> None:
        """What is known to be dead is not called again."""
        if not self.death.gone.done():
            with translating("terminate", self):
                try:
                    handle = await self.handle()
                    self.death.heard(state_of(handle))
                    if not self.death.gone.done():
                        await handle.terminate.aio()
                except modal_errors.NotFoundError:
                    self.death.heard(unknown_to_modal())
            self.death.heard(Liveness.dead("terminated by Offload"))
        if self._handle is not None:
            with contextlib.suppress(Exception):  # closes its connection, which closes by itself after a while
                async with asyncio.timeout(_DETACH_SECS):
                    await self._handle.detach.aio()  # type: ignore[no-untyped-call]
