"""A handle on a sandbox at Modal."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import modal
from modal import exception as modal_errors

from offload_core.abc import Command, Liveness, Process, Sandbox, SandboxRef
from offload_core.errors import ProviderError

from ._errors import translated
from ._liveness import PUSHES_AT_ONCE, Death, dead, pushed, state_of, unknown_to_modal
from ._process import ModalProcess

if TYPE_CHECKING:
    from ._provider import ModalProvider

_EXEC_SECS = 60.0
_DETACH_SECS = 2.0


class ModalSandbox(Sandbox):
    """One sandbox. There is one such object for each sandbox and provider object: `ModalProvider.attach` sees to it."""

    provider: ModalProvider

    def __init__(self, provider: ModalProvider, ref: SandboxRef, handle: modal.Sandbox | None = None) -> None:
        super().__init__(provider, ref)
        self._handle = handle
        where: dict[str, str | None] = {"sandbox": ref.id, "provider": provider.context.name}
        self.death = Death(self._watch, self._ask, where, 2 * provider.context.liveness.lost_after_secs)

    async def handle(self) -> modal.Sandbox:
        """The SDK's object; what was attached is looked up once."""
        if self._handle is None:
            self._handle = await modal.Sandbox.from_id.aio(self.ref.id, client=await self.provider.client())
        return self._handle

    async def exec(self, command: Command) -> Process:
        """As the contract says. OperationTimedOut if it has not started within a minute."""
        starting = self.provider.keep(self._start(command), f"start of a command in {self.ref.id}")
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if command.mark is not None:
                self.provider.keep(_undo(starting), f"end of a cancelled command in {self.ref.id}")
            else:
                starting.cancel()
            raise

    async def _start(self, command: Command) -> ModalProcess:
        async def start() -> object:
            handle = await self.handle()
            cwd = str(command.cwd) if command.cwd is not None else None
            return await handle.exec.aio(*command.argv, env=dict(command.env), workdir=cwd, text=False)

        return ModalProcess(self, command, await self.death.race(start(), "exec", _EXEC_SECS))

    async def probe(self) -> Liveness:
        """As the contract says: Modal is asked once. Unknown while it says alive, and the worker is silent."""
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

    async def wait_dead(self) -> Liveness:
        """As the contract says: pushed by the control plane. Never loses its connection: the push is renewed."""
        return await asyncio.shield(self.death.watched())

    async def _watch(self) -> Liveness:
        provider = self.provider
        while provider.pushes < PUSHES_AT_ONCE:
            provider.pushes += 1
            try:
                return await pushed(await self.handle())
            except modal_errors.NotFoundError:
                return unknown_to_modal()
            except Exception:  # the push is lost, not the sandbox; whoever probes hears of it
                await asyncio.sleep(provider.context.liveness.interval_secs)
            finally:
                provider.pushes -= 1
        return await provider.poller.wait_dead(self.ref)

    async def terminate(self) -> None:
        """As the contract says. What is known to be dead is not called again."""
        if not self.death.gone.done():
            try:
                handle = await self.handle()
                self.death.heard(state_of(handle))
                if not self.death.gone.done():
                    await handle.terminate.aio()
            except modal_errors.NotFoundError:
                self.death.heard(unknown_to_modal())
            except Exception as error:
                name = self.provider.context.name
                raise translated(error, "terminate", sandbox=self.ref.id, provider=name) from error
            self.death.heard(Liveness.dead("terminated by Offload"))
        if self._handle is not None:
            with contextlib.suppress(Exception):  # closes its connection, which closes by itself after a while
                async with asyncio.timeout(_DETACH_SECS):
                    await self._handle.detach.aio()  # type: ignore[no-untyped-call]


async def _undo(starting: asyncio.Task[ModalProcess]) -> None:
    """End a command whose start was cancelled: it may have started all the same."""
    with contextlib.suppress(ProviderError):
        await (await starting).kill()
