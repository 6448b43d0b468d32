"""The one retry policy, for every operation on every backend. It guards prepare, create, upload, download, list and
terminate; it never guards exec.

It ends the fault that Offload exists for: the operation is raced against the sandbox's death, the sandbox is probed
before any wait, and what is dead is never tried again, whatever a provider says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity
from attrs import field, frozen

from .abc import Provider
from .config.schema import RetryTable
from .errors import OperationTimedOut, ProviderError
from .events import RetryWaiting
from .liveness import DeathWatch, is_gone

T = TypeVar("T")


@frozen
class RetryPolicy:
    """When to try again, how long to wait, and when to stop.

    Args:
        settings: the `[retry]` table.
        provider: asked by its `is_retryable`.
        on_wait: told of each wait before it begins.
    """

    settings: RetryTable
    provider: Provider[Any]
    on_wait: Callable[[RetryWaiting], None] = field(default=lambda waiting: None)

    async def call(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        *,
        watch: DeathWatch | None = None,
        bounded: bool = True,
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
        sandbox = watch.sandbox.ref.id if watch else ""

        async def once() -> T:
            try:
                async with asyncio.timeout(self.settings.call_timeout_secs if bounded else None) as bound:
                    return await (watch.guard(call()) if watch else call())
            except TimeoutError as error:
                if not bound.expired():
                    raise
                raise OperationTimedOut(
                    f"no answer in {self.settings.call_timeout_secs:g} s",
                    operation=operation,
                    sandbox=sandbox or None,
                    provider=self.provider.context.name,
                ) from error

        async def before_wait(state: tenacity.RetryCallState) -> None:
            assert state.outcome is not None
            assert state.next_action is not None
            error = state.outcome.exception()
            if watch is not None and (await watch.probe()).is_dead:
                raise watch.loss() from error
            wait = state.next_action.sleep
            self.on_wait(
                RetryWaiting(
                    operation=operation,
                    sandbox=sandbox,
                    attempt=state.attempt_number,
                    wait=wait,
                    error=str(error),
                )
            )

        async def wait(seconds: float) -> None:
            await (watch.guard(asyncio.sleep(seconds)) if watch else asyncio.sleep(seconds))

        first = self.settings.initial_wait_secs
        backoff = tenacity.wait_exponential(multiplier=first) + tenacity.wait_random(0, first)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._again),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.settings.attempts),
                tenacity.stop_before_delay(self.settings.deadline_secs),
            ),
            wait=lambda state: min(backoff(state), self.settings.max_wait_secs),
            before_sleep=before_wait,
            sleep=wait,
            reraise=True,
        )
        return await retrying(once)

    def _again(self, error: BaseException) -> bool:
        if not isinstance(error, ProviderError) or is_gone(error):
            return False
        return self.provider.is_retryable(error)
