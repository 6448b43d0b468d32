"""Checks of life and death: probes, death in the middle of things, termination, listing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from unittest import SkipTest

from .. import errors
from ..abc import Command, Download, Health, Liveness, Sandbox, SandboxRef, Upload, launched
from ..config.schema import RetryTable
from ..errors import ProviderError, SandboxDead, SandboxLost
from ..liveness import DeathWatch
from ..retry import RetryPolicy
from ._checks import Checks, drain, must, new_run, read_lines, shell


class LifeChecks(Checks):
    """A sandbox lives until it dies, and everybody is told."""

    def test_check_is_ok(self) -> None:
        """`check` finds nothing wrong where the other checks can run, and `aclose` can be called twice."""

        async def check() -> None:
            async with self.provider() as provider:
                health = await self.within(provider.check(), "`check` must return")
                must(
                    isinstance(health, Health) and health.ok,
                    f"`check` must be ok where sandboxes can be made: {health}",
                )
                await provider.aclose()

        self.run(check())

    def test_probe(self) -> None:
        """A sandbox is alive, then dead for ever, whoever asks and however often."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                must(
                    (await sandbox.probe()).status == "alive", "`probe` must say alive of a sandbox that was just made"
                )
                await self.kill_sandbox(sandbox)
                await self._until_dead(sandbox)
                answer = await sandbox.probe()
                must(answer.is_dead and answer.reason, f"dead is final, and has a reason in words: {answer}")
                many = await sandbox.provider.probe_many([sandbox.ref])
                must(many[sandbox.ref].is_dead, f"`probe_many` must say what `probe` says: {many}")
                await sandbox.terminate()
                must((await sandbox.probe()).is_dead, "`probe` must not fail after `terminate`; it says dead")

        self.run(check())

    def test_wait_dead(self) -> None:
        """`wait_dead` returns when the sandbox dies, and at once when it is dead; cancelling it does nothing."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                cancelled = asyncio.create_task(sandbox.wait_dead())
                waiting = [asyncio.create_task(sandbox.wait_dead()) for _ in range(2)]
                await sandbox.run(shell("true"))
                cancelled.cancel()
                await asyncio.wait({cancelled})
                must((await sandbox.probe()).status == "alive", "cancelling `wait_dead` must not touch the sandbox")
                must(not any(task.done() for task in waiting), "`wait_dead` must not return while the sandbox lives")
                await self.kill_sandbox(sandbox)
                for answer in await self.within(asyncio.gather(*waiting), "`wait_dead` must return when it has died"):
                    must(answer.is_dead, f"`wait_dead` must return a Liveness that says dead: {answer}")
                await self.within(sandbox.wait_dead(), "`wait_dead` must return at once after the death")

        self.run(check())

    def test_wait_dead_after_terminate(self) -> None:
        """Whoever waits for a death is told of a termination, too."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                waiting = asyncio.create_task(sandbox.wait_dead())
                await asyncio.sleep(0)
                await sandbox.terminate()
                await self.within(waiting, "`wait_dead` must return after `terminate`")

        self.run(check())

    def test_death_during_exec(self) -> None:
        """When the sandbox dies, its commands' streams end, `wait` returns or raises, and nothing ends well."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                process = await self.start(sandbox, "echo ready; exec sleep 600")
                await self.within(read_lines(process, 1), "output must arrive as it comes")
                await self.kill_sandbox(sandbox)
                try:
                    await self.within(drain(process), "streams must end when the sandbox dies")
                    ended = await self.within(process.wait(), "`wait` must return or raise when the sandbox dies")
                    must(not ended.ok, f"a command whose sandbox died must not look as if it had ended well: {ended!r}")
                except ProviderError:
                    pass
                await self._until_dead(sandbox)
                await self.within(process.kill(), "`kill` in a dead sandbox must return")
                await self.within(process.close_stdin(), "`close_stdin` in a dead sandbox must return")

        self.run(check())

    def test_death_during_transfer(self) -> None:
        """An upload or download whose sandbox dies ends: it raises, or it was faster."""
        content = bytes(32 << 20)

        async def check() -> None:
            for upload in (True, False):
                async with self.sandbox() as sandbox:
                    with tempfile.TemporaryDirectory(prefix="offload-check-") as here:
                        target = sandbox.scratch / "file"
                        if not upload:
                            await sandbox.upload([Upload(content, target)])
                        transfer = asyncio.ensure_future(
                            sandbox.upload([Upload(content, target)])
                            if upload
                            else sandbox.download([Download(target, Path(here) / "file")])
                        )
                        await asyncio.sleep(0)
                        await self.kill_sandbox(sandbox)
                        await self._raises_or_was_faster(transfer)
                        await self._until_dead(sandbox)

        self.run(check())

    async def _raises_or_was_faster(self, transfer: Awaitable[None]) -> None:
        try:
            await self.within(transfer, "a transfer must end when its sandbox dies")
        except ProviderError:
            pass

    def test_death_during_create(self) -> None:
        """When what is being created dies, `create` raises, or returns a sandbox that is dead."""

        async def check() -> None:
            async with self.provider() as provider:
                run = new_run()
                creating = asyncio.create_task(self.create(provider, run_id=run))
                refs: list[SandboxRef] = []

                async def listed() -> bool:
                    refs[:] = await provider.list(run)
                    return bool(refs) or creating.done()

                await self.eventually(listed, "`list` must show a sandbox as soon as it is there")
                for ref in refs:
                    await self.kill_sandbox(provider.attach(ref))
                try:
                    sandbox = await self.within(creating, "`create` must end when what it makes dies")
                except ProviderError:
                    pass
                else:
                    if refs:
                        await self._until_dead(sandbox)
                    await sandbox.terminate()
                await self._gone(provider, run)

        self.run(check())

    def test_after_death(self) -> None:
        """What is asked of a dead sandbox fails, with an error that is not retried or a probe that says why."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                await self.kill_sandbox(sandbox)
                await self._until_dead(sandbox)
                file = sandbox.scratch / "file"
                for name, call in (
                    ("exec", lambda: sandbox.exec(launched(Command(argv=("true",))))),
                    ("upload", lambda: sandbox.upload([Upload(b"x", file)])),
                    ("download", lambda: sandbox.download([Download(file, Path("/nonexistent/file"))])),
                ):
                    try:
                        await self.within(call(), f"`{name}` in a dead sandbox must not hang")
                    except ProviderError:
                        continue
                    must(False, f"`{name}` in a dead sandbox must raise SandboxDead")

        self.run(check())

    def test_nothing_is_asked_of_the_dead(self) -> None:
        """Under the core's retry policy, a download whose sandbox dies ends with SandboxDead and is not tried again."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                provider = sandbox.provider
                policy = RetryPolicy(RetryTable(attempts=5, initial_wait_secs=0.05, max_wait_secs=0.1), provider)
                async with DeathWatch(sandbox, provider.context.liveness) as watch:
                    late: list[bool] = []

                    async def download() -> None:
                        late.append((await sandbox.probe()).is_dead)
                        await self.kill_sandbox(sandbox)
                        await sandbox.download([Download(sandbox.scratch / "no", Path("/nonexistent/file"))])

                    try:
                        await self.within(
                            policy.call("download", download, watch=watch), "a guarded call must end with the sandbox"
                        )
                    except SandboxDead:
                        pass
                    except errors.RemoteFileMissing:
                        pass  # the answer was faster than the death
                    else:
                        must(False, "a call on a sandbox that died must raise SandboxDead")
                    must(late == [False], f"a dead sandbox must be asked nothing but `probe` and `terminate`: {late}")

        self.run(check())

    def test_lifetime(self) -> None:
        """A sandbox ends by itself when its lifetime is over."""
        if not self.enforces_lifetime:
            raise SkipTest("the backend cannot end a sandbox by itself: `enforces_lifetime` is off")

        async def check() -> None:
            async with self.sandbox(lifetime=2.0) as sandbox:
                await self.start(sandbox, "exec sleep 600")
                answer = await self.within(sandbox.wait_dead(), "a sandbox must end when its lifetime is over")
                must(answer.is_dead, f"it must be dead then: {answer}")

        self.run(check())

    def test_is_retryable(self) -> None:
        """Each error class is classified, and what is final is never retried."""
        final = {
            errors.PrepareFailed,
            errors.ExecFailed,
            errors.RemoteFileMissing,
            errors.NotFound,
            errors.AuthenticationFailed,
            errors.SandboxDead,
            errors.SandboxLost,
        }
        passing = {
            errors.CreateFailed,
            errors.UploadFailed,
            errors.DownloadFailed,
            errors.ConnectionLost,
            errors.OperationTimedOut,
            errors.CapacityExhausted,
        }

        async def check() -> None:
            async with self.provider() as provider:
                for cls in final | passing:
                    answer = provider.is_retryable(cls("an error"))
                    must(isinstance(answer, bool), f"`is_retryable` must return a bool for {cls.__name__}: {answer!r}")
                for cls in (SandboxDead, SandboxLost, errors.AuthenticationFailed, errors.ExecFailed):
                    must(not provider.is_retryable(cls("an error")), f"{cls.__name__} must never be retried")

        self.run(check())

    async def _until_dead(self, sandbox: Sandbox) -> Liveness:
        answers: list[Liveness] = []

        async def dead() -> bool:
            answers.append(await self.within(sandbox.probe(), "`probe` must return, also for a dead sandbox"))
            return answers[-1].is_dead

        await self.eventually(dead, "`probe` must say dead of a sandbox that has died, not fail and not say unknown")
        return answers[-1]

    async def _gone(self, provider: Any, run: str, message: str = "a run must leave no sandbox behind") -> None:
        async def gone() -> bool:
            return not await provider.list(run)

        await self.eventually(gone, message)
