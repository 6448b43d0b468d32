"""Checks of life and death: probes, death in the middle of things, termination, listing."""

from __future__ import annotations

import asyncio
from unittest import SkipTest

from .. import errors
from ..abc import Health, Sandbox
from ..errors import ProviderError
from ._checks import Checks, check, in_sandbox, must, run_shell

_FINAL: tuple[type[ProviderError], ...] = (
    errors.AuthenticationFailed,
    errors.ExecFailed,
    errors.NotFound,
    errors.PrepareFailed,
    errors.RemoteFileMissing,
    errors.SandboxDead,
    errors.SandboxLost,
)
_PASSING: tuple[type[ProviderError], ...] = (errors.CapacityExhausted, errors.ConnectionLost, errors.OperationTimedOut)
_EITHER: tuple[type[ProviderError], ...] = (errors.CreateFailed, errors.DownloadFailed, errors.UploadFailed)


class LifeChecks(Checks):
    """A sandbox lives until it dies, and everybody is told."""

    @check
    async def test_check_is_ok(self) -> None:
        """`check` finds nothing wrong where the other checks can run, and `aclose` can be called twice."""
        async with self.provider() as provider:
            health = await self.succeeds(provider.check(), "`check` must return")
            must(isinstance(health, Health) and health.ok, f"`check` must be ok where sandboxes can be made: {health}")
            await provider.aclose()

    @in_sandbox
    async def test_probe(self, sandbox: Sandbox) -> None:
        """A sandbox is alive, then dead for ever, whoever asks and however often."""
        must((await sandbox.probe()).status == "alive", "`probe` must say alive of a sandbox that was just made")
        await self.kill_sandbox(sandbox)
        await self.until_dead(sandbox)
        answer = await sandbox.probe()
        must(answer.is_dead and answer.reason, f"dead is final, and has a reason in words: {answer}")
        many = await self.maker.probe_many([sandbox.ref])
        must(many[sandbox.ref].is_dead, f"`probe_many` must say what `probe` says: {many}")
        await sandbox.terminate()
        must((await sandbox.probe()).is_dead, "`probe` must not fail after `terminate`; it says dead")

    @in_sandbox
    async def test_probe_during_death(self, sandbox: Sandbox) -> None:
        """While a sandbox dies, each probe returns; once it has said dead, no probe says anything else."""
        answers: list[str] = []

        async def watch() -> None:
            while answers[-5:].count("dead") < 5:
                try:
                    answers.append((await sandbox.probe()).status.value)
                except Exception:  # any error counts as unknown
                    answers.append("unknown")
                await asyncio.sleep(0.005)

        async def answered() -> bool:
            return bool(answers)

        watching = asyncio.create_task(watch())
        await self.eventually(answered, "`probe` must return")
        await self.kill_sandbox(sandbox)
        await self.succeeds(watching, f"`probe` must say dead of a sandbox that has died, and go on to: {answers}")
        told = answers[answers.index("dead") :]
        must(set(told) == {"dead"}, f"dead is final, and must be certain when it is said: {told}")
        must("alive" in answers, f"`probe` must say alive until the sandbox dies: {answers}")

    @in_sandbox
    async def test_wait_dead(self, sandbox: Sandbox) -> None:
        """`wait_dead` returns when the sandbox dies, and at once when it is dead; cancelling it does nothing."""
        cancelled = asyncio.create_task(sandbox.wait_dead())
        waiting = [asyncio.create_task(sandbox.wait_dead()) for _ in range(2)]
        await run_shell(sandbox, "true")
        cancelled.cancel()
        await asyncio.wait({cancelled})
        must((await sandbox.probe()).status == "alive", "cancelling `wait_dead` must not touch the sandbox")
        must(not any(task.done() for task in waiting), "`wait_dead` must not return while the sandbox lives")
        await self.kill_sandbox(sandbox)
        for answer in await self.succeeds(asyncio.gather(*waiting), "`wait_dead` must return when it has died"):
            must(answer.is_dead, f"`wait_dead` must return a Liveness that says dead: {answer}")
        await self.succeeds(sandbox.wait_dead(), "`wait_dead` must return at once after the death")

    @in_sandbox
    async def test_wait_dead_after_terminate(self, sandbox: Sandbox) -> None:
        """Whoever waits for a death is told of a termination, too."""
        waiting = asyncio.create_task(sandbox.wait_dead())
        await asyncio.sleep(0)
        await sandbox.terminate()
        await self.succeeds(waiting, "`wait_dead` must return after `terminate`")

    @check
    async def test_lifetime(self) -> None:
        """A sandbox ends by itself when its lifetime is over."""
        if not self.enforces_lifetime:
            raise SkipTest("the backend cannot end a sandbox by itself: `enforces_lifetime` is off")
        async with self.sandbox(lifetime=2.0) as sandbox:
            await self.start(sandbox, "exec sleep 600")
            answer = await self.succeeds(sandbox.wait_dead(), "a sandbox must end when its lifetime is over")
            must(answer.is_dead, f"it must be dead then: {answer}")

    @check
    async def test_is_retryable(self) -> None:
        """Each error class is classified, and what is final is never retried."""
        async with self.provider() as provider:
            for cls in _FINAL + _PASSING + _EITHER:
                answer = provider.is_retryable(cls("an error"))
                must(isinstance(answer, bool), f"`is_retryable` must return a bool for {cls.__name__}: {answer!r}")
            for cls in _FINAL:
                must(not provider.is_retryable(cls("an error")), f"{cls.__name__} must never be retried")
            for cls in _PASSING:
                must(provider.is_retryable(cls("an error")), f"{cls.__name__} may pass, so it must be retryable")
