"""The death watch: one per sandbox, it knows at any moment whether the sandbox is gone, and ends what is in flight.

Two sources feed it: the sandbox's push (`Sandbox.wait_dead`), where there is one, and the poller that it shares with
all others. A probe that errs proves nothing; only silence for longer than `lost_after_secs` makes a sandbox *lost*.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from typing_extensions import override

from .abc import PROBES_AT_ONCE, AsyncResource, Liveness, LivenessSettings, Provider, Sandbox, SandboxRef
from .errors import SandboxDead, SandboxLost
from .kit import cancelled, race

T = TypeVar("T")

Listener = Callable[[Liveness], None]
"""Gets each answer about one sandbox. Must not raise."""


class Poller(AsyncResource):
    """Calls `probe_many` every `interval_secs` for the sandboxes that somebody listens for; stops when nobody does.

    A sandbox that is new to it is asked about within `interval_secs`.

    Args:
        settings: by default those of the provider's context.
    """

    def __init__(self, provider: Provider[Any], settings: LivenessSettings | None = None) -> None:
        self.settings = settings or provider.context.liveness
        self._provider = provider
        self._listeners: dict[SandboxRef, list[Listener]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listening(self, ref: SandboxRef, listener: Listener) -> Iterator[None]:
        """Call `listener` with each answer about `ref` while the block runs."""
        self._listeners.setdefault(ref, []).append(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._loop(), name="liveness poller")
        try:
            yield
        finally:
            self._listeners[ref].remove(listener)
            if not self._listeners[ref]:
                del self._listeners[ref]

    @override
    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _loop(self) -> None:
        while self._listeners:
            await self._round(list(self._listeners))
            await asyncio.sleep(self.settings.interval_secs)

    async def _round(self, refs: Sequence[SandboxRef]) -> None:
        """Ask once about all. No answer in time is unknown; one that comes late still counts: many take long."""
        timeout = self.settings.timeout_secs
        asking = asyncio.ensure_future(self._provider.probe_many(refs))
        try:
            await asyncio.wait({asking}, timeout=timeout)
            if not asking.done():
                self._tell(dict.fromkeys(refs, Liveness.unknown(f"no answer in {timeout:g} s")))
                await asyncio.wait({asking}, timeout=timeout * (len(refs) / PROBES_AT_ONCE))
            if asking.done():
                self._tell(self._answers(refs, asking))
        finally:
            asking.cancel()

    @staticmethod
    def _answers(
        refs: Sequence[SandboxRef], asked: asyncio.Future[Mapping[SandboxRef, Liveness]]
    ) -> dict[SandboxRef, Liveness]:
        try:
            answers = asked.result()
        except (Exception, asyncio.CancelledError) as error:  # a probe that errs is unknown, whatever the error
            return dict.fromkeys(refs, Liveness.unknown(f"the probe failed: {error!r}"))
        left_out = Liveness.unknown("the provider's probe_many left it out")
        return {ref: answers.get(ref, left_out) for ref in refs}

    def _tell(self, answers: Mapping[SandboxRef, Liveness]) -> None:
        for ref, answer in answers.items():
            for listener in tuple(self._listeners.get(ref, ())):
                listener(answer)


class DeathWatch:
    """Watches one sandbox while the `async with` block runs.

    Attributes:
        gone: a future that gets the `SandboxDead` or `SandboxLost` as soon as either is known (as its result, so that
            nobody has to retrieve an exception). It never goes back.
    """

    def __init__(self, sandbox: Sandbox, poller: Poller) -> None:
        self.sandbox = sandbox
        self._poller = poller
        self._settings = poller.settings
        self._push: asyncio.Task[None] | None = None
        self._listening = contextlib.ExitStack()
        self._silence: asyncio.TimerHandle | None = None
        self._silence_reason = ""

    async def __aenter__(self) -> Self:
        self.gone: asyncio.Future[SandboxDead | SandboxLost] = asyncio.get_running_loop().create_future()
        self._listening.enter_context(self._poller.listening(self.sandbox.ref, self._heard))
        if self.sandbox.pushes:
            self._push = asyncio.create_task(self._wait_dead(), name=f"death watch of {self.sandbox.ref.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listening.close()
        self._hear_again()
        if self._push is not None:
            await cancelled(self._push)

    def died(self, reason: str) -> None:
        """Record a death that somebody else noticed: an operation that failed with `SandboxDead`."""
        self._end(SandboxDead(reason, sandbox=self.sandbox.ref.id, provider=self.sandbox.context.name))

    def lost(self, reason: str) -> None:
        """Record that nothing can be learned of it any more, so that it is abandoned."""
        self._end(SandboxLost(reason, sandbox=self.sandbox.ref.id, provider=self.sandbox.context.name))

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

        Else it raises whatever the call raises.
        """
        task = await race(call, self.gone)
        if task is None:
            raise self.loss()
        try:
            return task.result()
        except (SandboxDead, SandboxLost) as error:
            self._end(error)
            raise
        except (Exception, asyncio.CancelledError) as error:
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


def is_gone(error: BaseException) -> bool:
    """Whether an error means that its sandbox is gone for good."""
    return isinstance(error, (SandboxDead, SandboxLost))
