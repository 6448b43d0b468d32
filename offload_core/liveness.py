"""The death watch: one per sandbox, it knows at any moment whether the sandbox is gone, and ends what is in flight.

Two sources feed it: the provider's push (`Sandbox.wait_dead`) and the shared poller (`Provider.poller`). A probe that
errs proves nothing; only silence for longer than `lost_after_secs` makes a sandbox *lost*.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Self, TypeVar

from .abc import Liveness, LivenessSettings, Sandbox
from .errors import SandboxDead, SandboxLost

T = TypeVar("T")

ABANDON_SECS = 1.0
"""How long a call that was cancelled because its sandbox is gone may take to end before it is left behind."""


class DeathWatch:
    """Watches one sandbox while the `async with` block runs.

    `gone` is a future that gets the `SandboxDead` or `SandboxLost` (as its result, so that nobody has to retrieve an
    exception) as soon as either is known. It never goes back.
    """

    def __init__(self, sandbox: Sandbox, settings: LivenessSettings) -> None:
        self.sandbox = sandbox
        self._settings = settings
        self._push: asyncio.Task[None] | None = None
        self._listening = contextlib.ExitStack()
        self._silence: asyncio.TimerHandle | None = None
        self._silence_reason = ""

    async def __aenter__(self) -> Self:
        self.gone: asyncio.Future[SandboxDead | SandboxLost] = asyncio.get_running_loop().create_future()
        poller = self.sandbox.provider.poller
        self._listening.enter_context(poller.listening(self.sandbox.ref, self._heard))
        self._push = asyncio.create_task(self._wait_dead(), name=f"death watch of {self.sandbox.ref.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listening.close()
        self._hear_again()
        if self._push is not None:
            self._push.cancel()
            await asyncio.wait({self._push}, timeout=ABANDON_SECS)

    def died(self, reason: str) -> None:
        """Record a death that somebody else noticed: an operation that failed with `SandboxDead`."""
        self._end(SandboxDead(reason, sandbox=self.sandbox.ref.id, provider=self.sandbox.provider.context.name))

    def lost(self, reason: str) -> None:
        """Record that nothing can be learned of it any more, so that it is abandoned."""
        self._end(SandboxLost(reason, sandbox=self.sandbox.ref.id, provider=self.sandbox.provider.context.name))

    def heartbeat(self) -> None:
        """Record a sign of life from inside the sandbox: it cannot have been lost before now."""
        if self._silence is not None:
            self._silence.cancel()
            self._listen_for_silence()

    async def probe(self) -> Liveness:
        """Probe once, bounded by `timeout_secs`; what it finds is recorded. Never raises but for cancellation."""
        try:
            async with asyncio.timeout(self._settings.timeout_secs):
                answer = await self.sandbox.probe()
        except TimeoutError:
            answer = Liveness.unknown(f"no answer in {self._settings.timeout_secs:g} s")
        except Exception as error:  # a probe that errs is unknown, whatever the error
            answer = Liveness.unknown(f"the probe failed: {error!r}")
        self._heard(answer)
        return answer

    def loss(self) -> SandboxDead | SandboxLost:
        """A new exception that says how the sandbox went; only once `gone` is done."""
        error = self.gone.result()
        return type(error)(error.message, operation=error.operation, sandbox=error.sandbox, provider=error.provider)

    async def guard(self, call: Awaitable[T]) -> T:
        """Run a call on the sandbox; if the sandbox goes first, cancel the call and raise at once.

        Raises:
            SandboxDead, SandboxLost: the sandbox is gone; chained to the call's own error, if it failed of it.
            Whatever the call raises.
        """
        task: asyncio.Future[T] = asyncio.ensure_future(call)
        if self.gone.done():
            await _end(task)  # before its first step: what is dead is not called
            raise self.loss()
        both: set[asyncio.Future[Any]] = {task, self.gone}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await _end(task)
                raise self.loss()
        except asyncio.CancelledError:
            await _end(task)
            raise
        try:
            return task.result()
        except (SandboxDead, SandboxLost) as error:
            self._end(error)
            raise
        except asyncio.CancelledError as error:
            if self.gone.done():
                raise self.loss() from error
            raise
        except Exception as error:
            if self.gone.done():
                raise self.loss() from error
            raise

    async def _wait_dead(self) -> None:
        while not self.gone.done():
            try:
                self._heard(await self.sandbox.wait_dead())
            except Exception as error:  # the push is lost, not the sandbox: polling goes on meanwhile
                self._heard(Liveness.unknown(f"the push failed: {error!r}"))
            await asyncio.sleep(self._settings.interval_secs if not self.gone.done() else 0)

    def _heard(self, answer: Liveness) -> None:
        if self.gone.done():
            return
        if answer.is_dead:
            self.died(answer.reason or "dead")
        elif answer.is_unknown:
            self._silence_reason = answer.reason
            if self._silence is None:
                self._listen_for_silence()
        else:
            self._hear_again()

    def _listen_for_silence(self) -> None:
        loop = asyncio.get_running_loop()
        self._silence = loop.call_later(self._settings.lost_after_secs, self._silent_too_long)

    def _hear_again(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _silent_too_long(self) -> None:
        self.lost(f"nothing heard of it for {self._settings.lost_after_secs:g} s: {self._silence_reason}")

    def _end(self, error: SandboxDead | SandboxLost) -> None:
        self._hear_again()
        if not self.gone.done():
            self.gone.set_result(error)


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel it, and wait a little. What ignores that is left behind, whatever comes of it."""
    task.add_done_callback(_forget)
    task.cancel()
    await asyncio.wait({task}, timeout=ABANDON_SECS)


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def is_gone(error: BaseException) -> bool:
    """Whether an error means that its sandbox is gone for good."""
    return isinstance(error, (SandboxDead, SandboxLost))
