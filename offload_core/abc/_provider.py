"""A provider: what makes sandboxes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from typing_extensions import override

from ..errors import ProviderError, SandboxDead
from ._context import Context
from ._cost import CostEstimate
from ._health import Health
from ._image import Image, PrepareRequest
from ._liveness import Liveness
from ._resource import AsyncResource
from ._sandbox import Sandbox, SandboxRef, SandboxSpec

OptionsT = TypeVar("OptionsT")

PROBES_AT_ONCE = 8
"""How many sandboxes the default `Provider.probe_many` probes at a time."""


class Provider(AsyncResource, Generic[OptionsT]):
    """A backend that makes sandboxes. One object serves one run; it does no I/O before its first call.

    An async context manager: it is closed at the end of the block.

    Every method is called on one event loop. A blocking SDK runs in threads that the provider owns, enough of them
    for `context.max_parallel` sandboxes. Cancelling any call leaves nothing running that the provider knows of.
    """

    Options: ClassVar[type]
    """A frozen attrs class, into which the `[provider]` table is structured. Unknown keys warn."""

    contract: ClassVar[int] = 1
    """The version of the contracts that it was made for. One that this version of Offload cannot use does not load."""

    needs_sandbox_root: ClassVar[bool] = True
    """Whether the configuration must say where the project is in a sandbox (`sandbox_project_root`). A provider whose
    sandboxes know that by themselves (they override `Sandbox.root`) says no."""

    terminate_secs: ClassVar[float] = 30.0
    """How long the default `terminate_many` waits for the end of one sandbox."""

    terminations_at_once: ClassVar[int] = 32
    """How many sandboxes the default `terminate_many` terminates at a time."""

    def __init__(self, options: OptionsT, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox that is ready for `exec`. Its labels are part of the call that makes it.

        Raises:
            CreateFailed: it could not be made; the next try may succeed.
            CapacityExhausted: there is no room for another one now.
            ConnectionLost: the backend could not be reached.
            AuthenticationFailed: it refuses the credentials.
            NotFound: it does not know the image, or something else that is named.

        Cancelled, or failing halfway, it finishes and terminates what it began.
        """

    @abstractmethod
    def attach(self, ref: SandboxRef) -> Sandbox:
        """A handle on a sandbox that may have been made by another process. No I/O, no check that it exists."""

    @abstractmethod
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """All sandboxes that Offload made and that are not gone: of one run, or of all.

        Found by labels on the backend, so that what a killed process left behind is found too. Idempotent.
        """

    async def check(self) -> Health:
        """Is the backend reachable, are credentials there? For `offload doctor`. No side effects, never raises."""
        return Health()

    async def prepare(self, request: PrepareRequest) -> Image | None:
        """Build or find the image that sandboxes are made from; None where there is no such thing (the default).

        Raises:
            PrepareFailed: the build itself is wrong; its last lines are in the message. Not retried.
            ConnectionLost, OperationTimedOut: the backend did not answer.
            AuthenticationFailed: it, or a registry, refuses the credentials.
            NotFound: something that is named is not there.

        Idempotent: a second call with the same request may reuse what the first made.
        """
        return None

    async def image_alive(self, image: Image) -> bool:
        """Whether sandboxes can still be made from a cached image. The default says yes."""
        return True

    def is_retryable(self, error: ProviderError) -> bool:
        """Whether an operation that failed this way may be tried again.

        The default is what the error's class declares. `SandboxDead` is never retried, whatever this says.
        """
        return error.retryable

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """Probe many at once. The default probes each, at most 8 at a time; override it with a bulk call."""
        limit = asyncio.Semaphore(PROBES_AT_ONCE)

        async def probe(ref: SandboxRef) -> Liveness:
            async with limit:
                try:
                    async with asyncio.timeout(self.context.liveness.timeout_secs):
                        return await self.attach(ref).probe()
                except Exception as error:  # a probe that errs is unknown, whatever the error
                    return Liveness.unknown(f"the probe failed: {error!r}")

        return dict(zip(refs, await asyncio.gather(*map(probe, refs)), strict=True))

    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """Terminate many at once and return those that may still be there, with the error. Dead or gone is success.

        The default terminates each, at most `terminations_at_once` at a time, each bounded by `terminate_secs`; the
        core calls again for what failed.
        """
        limit = asyncio.Semaphore(self.terminations_at_once)
        failed: dict[SandboxRef, ProviderError] = {}

        async def terminate(ref: SandboxRef) -> None:
            async with limit:
                try:
                    async with asyncio.timeout(self.terminate_secs):
                        await self.attach(ref).terminate()
                except SandboxDead:
                    pass
                except ProviderError as error:
                    failed[ref] = error
                except Exception as error:  # one that breaks must not keep the others from being tried
                    late = isinstance(error, TimeoutError)
                    why = f"no answer in {self.terminate_secs:g} s" if late else f"it broke: {error!r}"
                    failed[ref] = ProviderError(why, operation="terminate", sandbox=ref.id, provider=self.context.name)

        await asyncio.gather(*map(terminate, refs))
        return failed

    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate | None:
        """What this sandbox costs if it lives for so long; None if the provider cannot tell (the default)."""
        return None

    @override
    async def aclose(self) -> None:
        """Close connections and threads. Sandboxes are not touched. Idempotent. The default has nothing to close."""
        return
