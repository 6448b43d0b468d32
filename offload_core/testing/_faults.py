"""A provider that fails on purpose, by seed, around any other. It keeps the contract: so what breaks is the caller."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from typing_extensions import override

from ..abc import (
    ByteStream,
    Command,
    CostEstimate,
    Download,
    Exit,
    Health,
    Image,
    Liveness,
    PrepareRequest,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    Upload,
)
from ..errors import CapacityExhausted, ConnectionLost, ProviderError
from ._dice import EVERYWHERE, Dice, Fault, FaultPlan, Injected


class FaultyProvider(Provider[Any]):
    """Any provider, with faults injected.

    Args:
        inner: does the work. Is closed with this one.
        plan: how likely each fault is.
        seed: the same seed injects the same faults into the same calls, as far as the calls are the same.
        kill: how a sandbox of `inner` is made to die.

    `injected` lists the faults that took place, in order.
    """

    def __init__(
        self,
        inner: Provider[Any],
        plan: FaultPlan,
        seed: int = 0,
        kill: Callable[[Sandbox], Awaitable[None]] = lambda sandbox: sandbox.terminate(),
    ) -> None:
        super().__init__(inner.options, inner.context)
        self.inner = inner
        self.kill = kill
        self.dice = Dice(plan, seed)
        self._unknown: Counter[SandboxRef] = Counter()

    @property
    def injected(self) -> Sequence[Injected]:
        """The faults that took place."""
        return tuple(self.dice.log)

    @override
    async def check(self) -> Health:
        return await self.inner.check()

    @override
    async def prepare(self, request: PrepareRequest) -> Image | None:
        return await self.inner.prepare(request)

    @override
    async def image_alive(self, image: Image) -> bool:
        return await self.inner.image_alive(image)

    @override
    def is_retryable(self, error: ProviderError) -> bool:
        return self.inner.is_retryable(error)

    @override
    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate | None:
        return self.inner.cost(ref, seconds)

    @override
    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Fails before anything was made, or makes a sandbox and ends it again; or it dies as soon as it is made."""
        fault, dice = self.dice.roll("create", spec.name)
        if fault is Fault.CAPACITY:
            self.dice.note("create", spec.name, fault)
            raise CapacityExhausted("injected", operation="create")

        async def create() -> Sandbox:
            sandbox = await self.inner.create(spec)
            try:
                if fault is Fault.FAIL:
                    await sandbox.terminate()
                if fault is Fault.KILL:
                    self.dice.note("create", spec.name, fault)
                    await self.kill(sandbox)
            except BaseException:
                await asyncio.shield(sandbox.terminate())
                raise
            return sandbox

        return FaultySandbox(self, await self.dice.apply(fault, dice, "create", spec.name, create))

    @override
    def attach(self, ref: SandboxRef) -> Sandbox:
        """A handle that injects faults, too."""
        return FaultySandbox(self, self.inner.attach(ref))

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """Fails or hangs, or is the inner provider's."""
        return await self.dice.call("list", EVERYWHERE, lambda: self.inner.list(run_id))

    @override
    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """Some are unknown for a while; or the call as a whole fails or hangs."""
        known = [ref for ref in refs if not self.hides(ref, self.dice.roll("probe", ref.name or ref.id)[0])]
        answers = await self.dice.call("probe", EVERYWHERE, lambda: self.inner.probe_many(known))
        return {ref: answers.get(ref, Liveness.unknown("injected")) for ref in refs}

    def hides(self, ref: SandboxRef, fault: Fault | None) -> bool:
        """Whether a probe cannot find out, because of its own fault or of one before it."""
        if self._unknown[ref] == 0 and fault is Fault.UNKNOWN:
            self.dice.note("probe", ref.name or ref.id, fault)
            self._unknown[ref] = self.dice.plan.unknown_probes
        if self._unknown[ref] == 0:
            return False
        self._unknown[ref] -= 1
        return True

    @override
    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """For some of them it fails, with or without effect; or it hangs."""
        failed: dict[SandboxRef, ProviderError] = {}

        async def terminate(ref: SandboxRef) -> None:
            try:
                await self.attach(ref).terminate()
            except ProviderError as error:
                failed[ref] = error

        await asyncio.gather(*map(terminate, refs))
        return failed

    @override
    async def aclose(self) -> None:
        await super().aclose()
        await self.inner.aclose()


class FaultySandbox(Sandbox):
    """A sandbox of the inner provider, with faults injected into every call on it."""

    def __init__(self, provider: FaultyProvider, inner: Sandbox) -> None:
        super().__init__(inner.ref, provider.context)
        self.provider = provider
        self.inner = inner
        self.name = inner.ref.name or inner.ref.id

    @property
    @override
    def root(self) -> PurePosixPath:
        return self.inner.root

    @property
    @override
    def shares_root(self) -> bool:
        return self.inner.shares_root

    @property
    @override
    def scratch(self) -> PurePosixPath:
        return self.inner.scratch

    @override
    async def exec(self, command: Command) -> Process:
        """Fails before the command was started, or it starts and something happens after some output."""
        dice = self.provider.dice
        fault, more = dice.roll("exec", self.name)
        process = await dice.apply(fault, more, "exec", self.name, lambda: self.inner.exec(command))
        if fault in (Fault.KILL, Fault.TRUNCATE, Fault.TEAR):
            return FaultyProcess(self, process, fault, after=int(10 ** more.uniform(0, 5)))
        return process

    @override
    async def upload(self, files: Sequence[Upload]) -> None:
        """Fails before or after the files are there, or the sandbox dies."""
        await self._call("upload", lambda: self.inner.upload(files))

    @override
    async def download(self, files: Sequence[Download]) -> None:
        """Fails before or after the files are there, or the sandbox dies."""
        await self._call("download", lambda: self.inner.download(files))

    async def _call(self, operation: str, call: Callable[[], Awaitable[None]]) -> None:
        dice = self.provider.dice
        fault, more = dice.roll(operation, self.name)
        if fault is Fault.KILL:
            await self.die(operation)
        await dice.apply(fault, more, operation, self.name, call)

    @override
    async def probe(self) -> Liveness:
        """Errs, hangs, or cannot find out for a while."""
        fault, more = self.provider.dice.roll("probe", self.name)
        if self.provider.hides(self.ref, fault):
            return Liveness.unknown("injected")
        return await self.provider.dice.apply(fault, more, "probe", self.name, self.inner.probe)

    @property
    @override
    def pushes(self) -> bool:
        return self.inner.pushes

    @override
    async def wait_dead(self) -> Liveness:
        """Loses its connection, or never tells."""
        return await self.provider.dice.call("wait_dead", self.name, self.inner.wait_dead)

    @override
    async def terminate(self) -> None:
        """Fails with or without effect, or hangs."""
        await self.provider.dice.call("terminate", self.name, self.inner.terminate)

    async def die(self, operation: str) -> None:
        """Make the inner sandbox die."""
        self.provider.dice.note(operation, self.name, Fault.KILL)
        await self.provider.kill(self.inner)


class FaultyProcess(Process):
    """A process whose output is cut after some bytes, because it, its sandbox or only the stream ends."""

    def __init__(self, sandbox: FaultySandbox, inner: Process, fault: Fault, after: int) -> None:
        super().__init__(inner.command)
        self.sandbox = sandbox
        self._inner = inner
        self._fault = fault
        self._torn = False
        self.stdout = self._cut(inner.stdout, after)
        self.stderr = inner.stderr

    async def _cut(self, stream: ByteStream, after: int) -> ByteStream:
        async for chunk in stream:
            if len(chunk) <= after:
                after -= len(chunk)
                yield chunk
                continue
            if after:
                yield chunk[:after]
            await self._happen()
            return

    async def _happen(self) -> None:
        if self._fault is Fault.KILL:
            return await self.sandbox.die("exec")
        self.sandbox.provider.dice.note("exec", self.sandbox.name, self._fault)
        if self._fault is Fault.TEAR:
            self._torn = True
            await self._inner.kill()

    @override
    async def write(self, data: bytes) -> None:
        """The inner one's, until it is torn."""
        self._check()
        await self._inner.write(data)

    @override
    async def close_stdin(self) -> None:
        await self._inner.close_stdin()

    @override
    async def wait(self) -> Exit:
        """The inner one's, until it is torn."""
        ended = await self._inner.wait()
        self._check()
        return ended

    @override
    async def kill(self) -> None:
        await self._inner.kill()

    def _check(self) -> None:
        if self._torn:
            raise ConnectionLost("injected", operation="exec", sandbox=self.sandbox.ref.id)
