"""The sandbox as a framework sees it: every call races against the sandbox's death, and is bounded. And its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import frozen

from ..abc import Command, Process, Sandbox, Upload
from ..errors import OperationTimedOut, SandboxDead
from ..events import Bus, CostEstimated, Incident, IncidentKind, Warned
from ..liveness import DeathWatch
from ..retry import RetryPolicy

TERMINATE_SECS = 30.0
"""How long ending one sandbox may take in all."""


@frozen(eq=False)
class GuardedExecutor:
    """An `Executor`. Uploads are retried by the one policy; exec never is."""

    watch: DeathWatch
    retry: RetryPolicy

    async def exec(self, command: Command) -> Process:
        """As `Sandbox.exec`; OperationTimedOut if it has not started within `call_timeout_secs`."""
        bound = self.retry.settings.call_timeout_secs
        try:
            async with asyncio.timeout(bound) as limit:
                return await self.watch.guard(self.watch.sandbox.exec(command))
        except TimeoutError as error:
            if not limit.expired():
                raise
            ref = self.watch.sandbox.ref
            raise OperationTimedOut(f"no answer in {bound:g} s", operation="exec", sandbox=ref.id) from error

    async def upload(self, files: Sequence[Upload]) -> None:
        """As `Sandbox.upload`."""
        await self.retry.call("upload", lambda: self.watch.sandbox.upload(files), watch=self.watch)


async def terminated(watch: DeathWatch, retry: RetryPolicy, bus: Bus, *, since: float) -> None:
    """End a sandbox; a dead one once, for what may be left of it. What fails here is swept at the end of the run.

    Args:
        since: when it was there, in seconds of the run: it is said what it cost from then on.
    """
    terminate = watch.sandbox.terminate
    try:
        async with asyncio.timeout(TERMINATE_SECS):
            if watch.gone.done():
                async with asyncio.timeout(retry.settings.call_timeout_secs):
                    await terminate()
            else:
                await retry.call("terminate", terminate)
    except SandboxDead:
        pass
    except Exception as error:  # whatever a provider raises here, it must not end the run
        reason = f"no answer in {TERMINATE_SECS:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
        bus.emit(Incident(kind=IncidentKind.TERMINATE_FAILED, reason=reason, sandbox=watch.sandbox.ref.name))
    finally:
        _say_cost(watch.sandbox, bus, bus.clock() - since)


def _say_cost(sandbox: Sandbox, bus: Bus, seconds: float) -> None:
    try:
        cost = sandbox.provider.cost(sandbox.ref, seconds)
    except Exception as error:  # a provider's price list must not end the run
        bus.emit(Warned(f"what sandbox {sandbox.ref.name} cost could not be found out: {error!r}"))
    else:
        if cost is not None:
            bus.emit(CostEstimated(sandbox=sandbox.ref.name, seconds=round(seconds, 6), cost=cost))
