"""Wrong about life and death."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import evolve

from offload_core.abc import (
    ByteStream,
    Download,
    Exit,
    Finding,
    Health,
    Liveness,
    Sandbox,
    SandboxSpec,
    Severity,
    Upload,
)
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead
from offload_core.kit import ShellSandbox, launched

from .base import Case, Wrong, WrongSandbox, hang, script


class ChecksWrongly(Wrong):
    """Finds fault with what works."""

    async def check(self) -> Health:
        """An error."""
        return Health((Finding(Severity.ERROR, "no credentials"),))


class ProbeRaises(WrongSandbox):
    """Its `probe` raises for a dead sandbox."""

    async def probe(self) -> Liveness:
        """Raise instead of dead."""
        answer = await super().probe()
        if answer.is_dead:
            raise SandboxDead(answer.reason)
        return answer


class GivesNoReason(WrongSandbox):
    """Says dead, and nothing else."""

    async def probe(self) -> Liveness:
        """Without a reason."""
        return evolve(await super().probe(), reason="")


class Resurrects(WrongSandbox):
    """Says dead of what it did not find the first time, and then looks again."""

    _dead = 0

    async def probe(self) -> Liveness:
        """Every other time."""
        answer = await super().probe()
        self._dead += answer.is_dead
        return Liveness.alive() if self._dead == 2 else answer


class NeverWakes(WrongSandbox):
    """Its `wait_dead` waits for ever."""

    async def wait_dead(self) -> Liveness:
        """For ever."""
        await hang()
        return Liveness.unknown("")


class WakesTooEarly(WrongSandbox):
    """Its `wait_dead` returns what a probe says."""

    async def wait_dead(self) -> Liveness:
        """At once."""
        return await self.probe()


class ForgetsItsOwn(WrongSandbox):
    """Tells of deaths, but not of its own `terminate`."""

    _ended = False

    async def terminate(self) -> None:
        """Remember it."""
        self._ended = True
        await super().terminate()

    async def wait_dead(self) -> Liveness:
        """For ever, if it was ended."""
        answer = await super().wait_dead()
        if self._ended:
            await hang()
        return answer


class NoLifetime(Wrong):
    """Forgets the lifetime."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """For a day."""
        return await super().create(evolve(spec, lifetime=86400.0))


class RetriesTheDead(Wrong):
    """Calls everything retryable."""

    def is_retryable(self, error: ProviderError) -> bool:
        """Yes."""
        return True


class RetriesNothing(Wrong):
    """Calls nothing retryable."""

    def is_retryable(self, error: ProviderError) -> bool:
        """No."""
        return False


class StreamsGoOn(WrongSandbox):
    """Its streams do not end with the sandbox."""

    def change(self, process: Any) -> None:
        """Wait for more."""
        process.stdout = self._on(process.stdout)

    async def _on(self, stream: ByteStream) -> AsyncIterator[bytes]:
        async for chunk in stream:
            yield chunk
        if (await self.probe()).is_dead:
            await hang()


class DeathLooksFine(WrongSandbox):
    """A command whose sandbox died has ended well."""

    def change(self, process: Any) -> None:
        """With another wait."""
        wait = process.wait

        async def changed() -> Exit:
            try:
                ended: Exit = await wait()
            except ProviderError:
                return Exit(0)
            return Exit(0) if (await self.probe()).is_dead else ended

        process.wait = changed


class TransfersHang(WrongSandbox):
    """Waits for a dead sandbox to answer."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """For ever, when it has taken its time."""
        try:
            await asyncio.sleep(0.5)
            await super().upload(files)
        except ProviderError:
            await hang()


class CreatesForEver(Wrong):
    """Waits for what died meanwhile to be ready."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """For ever."""
        with contextlib.suppress(ProviderError):
            await super().create(spec)
        await hang()
        raise AssertionError


class PretendsToWork(WrongSandbox):
    """An upload into a dead sandbox is done."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """If it lives."""
        if (await self.probe()).status == "alive":
            await super().upload(files)


class RetriesByItself(WrongSandbox, ShellSandbox):
    """Tries a transfer again and again: the fault that Offload exists for."""

    async def download(self, files: Sequence[Download]) -> None:
        """Each through a command, whatever came of the one before."""
        for _ in range(5):
            try:
                return await ShellSandbox.download(self, files)
            except ProviderError as error:
                failure = error
        raise ConnectionLost("no success in 5 tries") from failure


class ProbesByCommand(WrongSandbox):
    """Finds out whether a sandbox lives by running a command in it."""

    async def probe(self) -> Liveness:
        """Alive if that can be started."""
        try:
            await (await self.exec(launched(script("true")))).wait()
        except ProviderError as error:
            return Liveness.dead(str(error))
        return Liveness.alive()


CASES = (
    Case(ChecksWrongly, "test_check_is_ok", "`check` must be ok where sandboxes can be made"),
    Case(ProbeRaises, "test_probe", "`probe` must return, also for a dead sandbox; it raised SandboxDead"),
    Case(GivesNoReason, "test_probe", "dead is final, and has a reason in words"),
    Case(Resurrects, "test_probe_during_death", "`probe` must say dead of .* and go on to|dead is final"),
    Case(NeverWakes, "test_wait_dead", "`wait_dead` must return when it has died", hangs=True),
    Case(WakesTooEarly, "test_wait_dead", "must not return while the sandbox lives"),
    Case(ForgetsItsOwn, "test_wait_dead_after_terminate", "`wait_dead` must return after `terminate`", hangs=True),
    Case(NoLifetime, "test_lifetime", "when its lifetime is over", hangs=True),
    Case(RetriesTheDead, "test_is_retryable", "must never be retried"),
    Case(RetriesNothing, "test_is_retryable", "may pass, so it must be retryable"),
    Case(StreamsGoOn, "test_death_during_exec", "streams must end when the sandbox dies", hangs=True),
    Case(DeathLooksFine, "test_death_during_exec", "must not look as if it had ended well"),
    Case(TransfersHang, "test_death_during_transfer", "a transfer must end when its sandbox dies", hangs=True),
    Case(CreatesForEver, "test_death_during_create", "`create` must end when what it makes dies", hangs=True),
    Case(PretendsToWork, "test_after_death", "`upload` in a dead sandbox must raise SandboxDead"),
    Case(RetriesByItself, "test_nothing_is_asked_of_the_dead", "`download` must not try again by itself"),
    Case(ProbesByCommand, "test_nothing_is_asked_of_the_dead", "must be asked nothing but `probe` and `terminate`"),
)
