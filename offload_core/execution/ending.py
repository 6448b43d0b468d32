"""The end of sandboxes: of one, and the last look for what may be left of a run."""

from __future__ import annotations

import asyncio
from typing import Any

from ..abc import Provider, SandboxRef
from ..errors import SandboxDead
from ..events import Bus, CostEstimated, Incident, IncidentKind, Warned
from ..liveness import DeathWatch
from ..retry import RetryPolicy


async def terminated(watch: DeathWatch, retry: RetryPolicy, bus: Bus, *, since: float, within: float) -> None:
    """End a sandbox; a dead one once, for what may be left of it. What fails here is swept at the end of the run.

    Args:
        since: when it was there, in seconds of the run: it is said what it cost from then on.
        within: how long that may take in all, in seconds.
    """
    terminate, gone = watch.sandbox.terminate, watch.gone.done()
    within = min(within, retry.settings.call_timeout_secs) if gone else within
    try:
        async with asyncio.timeout(within):
            await (terminate() if gone else retry.call("terminate", terminate))
    except SandboxDead:
        pass
    except Exception as error:  # whatever a provider raises here, it must not end the run
        reason = _why(error, f"no answer in {within:g} s")
        bus.emit(Incident(kind=IncidentKind.TERMINATE_FAILED, reason=reason, sandbox=watch.sandbox.ref.name))
    finally:
        _say_cost(retry.provider, watch.sandbox.ref, bus, bus.clock() - since)


def _say_cost(provider: Provider[Any], ref: SandboxRef, bus: Bus, seconds: float) -> None:
    try:
        cost = provider.cost(ref, seconds)
    except Exception as error:  # a provider's price list must not end the run
        bus.emit(Warned(f"what sandbox {ref.name} cost could not be found out: {error!r}"))
    else:
        if cost is not None:
            bus.emit(CostEstimated(sandbox=ref.name, seconds=round(seconds, 6), cost=cost))


def _why(error: Exception, too_long: str) -> str:
    return too_long if isinstance(error, TimeoutError) else str(error) or repr(error)


async def sweep(run_id: str, retry: RetryPolicy, bus: Bus, *, within: float) -> None:
    """Terminate whatever still carries the run's label; say what may be left, and how to end that."""
    reap = f"`offload reap --run {run_id}` removes them when the backend is back"
    try:
        async with asyncio.timeout(within):
            refs = await retry.call("list", lambda: retry.provider.list(run_id))
            left = await retry.terminate_all(refs) if refs else {}
    except Exception as error:  # whatever a provider raises here, the run has its results
        why = _why(error, f"the backend did not answer in {within:g} s")
        bus.emit(Warned(f"could not look for sandboxes that were left: {why}. {reap}"))
    else:
        if left:
            ids = ", ".join(ref.id for ref in left)
            bus.emit(Warned(f"sandboxes that could not be terminated: {ids}. {reap}"))
