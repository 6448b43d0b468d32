"""The one retry policy, for every operation on every backend. It guards prepare, create, upload, download, list and
terminate; it never guards exec.

It ends the fault that Offload exists for: the operation is raced against the sandbox's death, the sandbox is probed
before any wait, and what is dead is never tried again, whatever a provider says. Of tests it knows nothing: those are
run again by `execution/attempts.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import tenacity
from attrs import field, frozen

from .abc import Provider, SandboxRef
from .config.schema import RetryTable
from .errors import OperationTimedOut, ProviderError
from .events import RetryWaiting
from .liveness import DeathWatch, is_gone

T = TypeVar("T")
U = TypeVar("U")


@frozen
class RetryPolicy:
    """When to try again, how long to wait, and when to stop.

    Args:
        provider: asked by its `is_retryable`.
        settings: the `[retry]` table.
        on_wait: told of each wait before it begins.
    """

    provider: Provider[Any]
    settings: RetryTable = field(factory=RetryTable)
    on_wait: Callable[[RetryWaiting], None] = field(default=lambda waiting: None)

    async def call(
        self, operation: str, call: Callable[[], Awaitable[T]], *, watch: DeathWatch | None = None, bounded: bool = True
    ) -> T:
        """Call until it succeeds, must not be tried again, or was tried often enough.

        Args:
            operation: the contract's name for it, for messages.
            call: makes a new awaitable for each try.
            watch: of the sandbox that the call is on, if it is on one.
            bounded: whether `call_timeout_secs` applies; not to an image build.

        Raises:
            SandboxDead, SandboxLost: at once, whenever the sandbox is gone: during a try, or during a wait.
            OperationTimedOut: the last try took longer than `call_timeout_secs`.
            ProviderError: what the last try raised.
        """
        return await _Call(self, operation, call, watch, bounded).run()

    async def terminate_all(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """Terminate many at once, and again what failed in a way that may pass. Returns what may still be there.

        Raises:
            ProviderError: nothing is known of any of them.
        """
        failed: Mapping[SandboxRef, ProviderError] = {}
        left = tuple(refs)

        async def once() -> None:
            nonlocal failed, left
            failed = await self.provider.terminate_many(left)
            left = tuple(failed)
            for error in filter(self.provider.is_retryable, failed.values()):
                raise error

        try:
            await self.call("terminate", once, bounded=False)
        except ProviderError:
            if not failed:
                raise  # the call as a whole
        return failed


@frozen
class _Call(Generic[T]):
    """One operation, tried until it is settled."""

    policy: RetryPolicy
    operation: str
    make: Callable[[], Awaitable[T]]
    watch: DeathWatch | None
    bounded: bool

    async def run(self) -> T:
        settings = self.policy.settings
        first = settings.initial_wait_secs
        backoff = tenacity.wait_exponential(multiplier=first) + tenacity.wait_random(0, first)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._again),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(settings.attempts), tenacity.stop_before_delay(settings.deadline_secs)
            ),
            wait=lambda state: min(backoff(state), settings.max_wait_secs),
            before_sleep=self._before_wait,
            sleep=lambda seconds: self._guarded(asyncio.sleep(seconds)),
            reraise=True,
        )
        return await retrying(self._once)

    @property
    def _sandbox(self) -> str:
        return self.watch.sandbox.ref.id if self.watch else ""

    async def _once(self) -> T:
        limit = self.policy.settings.call_timeout_secs
        try:
            async with asyncio.timeout(limit if self.bounded else None) as bound:
                return await self._guarded(self.make())
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise OperationTimedOut(
                f"no answer in {limit:g} s",
                operation=self.operation,
                sandbox=self._sandbox or None,
                provider=self.policy.provider.context.name,
            ) from error

    async def _guarded(self, awaitable: Awaitable[U]) -> U:
        return await (self.watch.guard(awaitable) if self.watch else awaitable)

    def _again(self, error: BaseException) -> bool:
        if not isinstance(error, ProviderError) or is_gone(error):
            return False
        return self.policy.provider.is_retryable(error)

    async def _before_wait(self, state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        error = state.outcome.exception()
        if self.watch is not None and (await self.watch.probe()).is_dead:
            raise self.watch.loss() from error
        self.policy.on_wait(
            RetryWaiting(
                operation=self.operation,
                sandbox=self._sandbox,
                attempt=state.attempt_number,
                wait=state.next_action.sleep,
                error=str(error),
            )
        )
