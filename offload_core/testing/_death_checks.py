"""Checks of what happens when a sandbox dies in the middle of something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..abc import Command, Download, Provider, Sandbox, SandboxRef, Upload
from ..config.schema import RetryTable
from ..errors import ProviderError, SandboxDead
from ..kit import kill_command, launched
from ..liveness import DeathWatch, Poller
from ..retry import RetryPolicy
from ._checks import Checks, check, directory, drain, in_sandbox, must, new_run, read_lines

_LARGE = bytes(32 << 20)
_KILLER = kill_command("").argv[:-1]


class DeathChecks(Checks):
    """Whatever is under way when a sandbox dies ends, and nothing more is asked of it."""

    @in_sandbox
    async def test_death_during_exec(self, sandbox: Sandbox) -> None:
        """When the sandbox dies, its commands' streams end, `wait` returns or raises, and nothing ends well."""
        process = await self.start(sandbox, "echo ready; exec sleep 600")
        await self.succeeds(read_lines(process, 1), "output must arrive as it comes")
        await self.kill_sandbox(sandbox)
        with suppress(ProviderError):
            await self.within(drain(process), "streams must end when the sandbox dies")
            ended = await self.within(process.wait(), "`wait` must return or raise when the sandbox dies")
            must(not ended.ok, f"a command whose sandbox died must not look as if it had ended well: {ended!r}")
        await self.until_dead(sandbox)
        await self.succeeds(process.kill(), "`kill` in a dead sandbox must return")
        await self.succeeds(process.close_stdin(), "`close_stdin` in a dead sandbox must return")

    @check
    async def test_death_during_transfer(self) -> None:
        """An upload or download whose sandbox dies ends: it raises, or it was faster."""
        for upload in (True, False):
            async with self.sandbox() as sandbox:
                with directory() as here:
                    target = sandbox.scratch / "file"
                    call = sandbox.upload([Upload(_LARGE, target)])
                    if not upload:
                        await call
                        call = sandbox.download([Download(target, here / "file")])
                    transfer = asyncio.ensure_future(call)
                    await asyncio.sleep(0)
                    await self.kill_sandbox(sandbox)
                    with suppress(ProviderError):
                        await self.within(transfer, "a transfer must end when its sandbox dies")
                    await self.until_dead(sandbox)

    @check
    async def test_death_during_create(self) -> None:
        """When what is being created dies, `create` raises, or returns a sandbox that is dead."""
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
                    await self.until_dead(sandbox)
                await sandbox.terminate()
            await self.nothing_left(provider, run, "a run must leave no sandbox behind")

    @in_sandbox
    async def test_after_death(self, sandbox: Sandbox) -> None:
        """What is asked of a dead sandbox fails, with an error that is not retried or a probe that says why."""
        await self.kill_sandbox(sandbox)
        await self.until_dead(sandbox)
        file = sandbox.scratch / "file"
        for name, call in (
            ("exec", lambda: sandbox.exec(launched(Command(argv=("true",))))),
            ("upload", lambda: sandbox.upload([Upload(b"x", file)])),
            ("download", lambda: sandbox.download([Download(file, Path("/nonexistent/file"))])),
        ):
            with suppress(ProviderError):
                await self.within(call(), f"`{name}` in a dead sandbox must not hang")
                must(False, f"`{name}` in a dead sandbox must raise SandboxDead")

    @check
    async def test_nothing_is_asked_of_the_dead(self) -> None:
        """After a death, nothing is called on the sandbox but `probe` and one `terminate`: the calls are counted."""
        async with self.provider() as provider:
            sandbox = await self.create(provider)
            target = sandbox.scratch / "file"
            await sandbox.upload([Upload(_LARGE, target)])
            calls = _Calls(sandbox)
            with directory() as here:
                transfers: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
                    "upload": partial(sandbox.upload, [Upload(_LARGE, target)]),
                    "download": partial(sandbox.download, [Download(target, here / "file")]),
                }
                await self._die_under_the_policy(provider, sandbox, calls, transfers)
            again = calls.late.count("upload") + calls.late.count("download")
            must(
                again == 0 and calls.late.count("exec") <= 2,  # each may have been about to start its command
                f"what was under way when a sandbox died must not begin again: {calls.late}",
            )
            calls.late.clear()
            await self.until_dead(sandbox)
            must(not calls.late, f"a dead sandbox must be asked nothing but `probe` and `terminate`: {calls.late}")
            for name, call in transfers.items():
                calls.late.clear()
                with suppress(ProviderError):
                    await self.within(call(), f"`{name}` in a dead sandbox must not hang")
                tries = max(calls.late.count(name), calls.late.count("exec"))
                must(tries <= 1, f"`{name}` must not try again by itself what failed: a dead sandbox got {tries} calls")
            await self.succeeds(sandbox.terminate(), "`terminate` of a dead sandbox must return")
            run = next(iter(self.runs))
            await self.nothing_left(provider, run, "one `terminate` must be enough for a dead sandbox")

    async def _die_under_the_policy(
        self,
        provider: Provider[Any],
        sandbox: Sandbox,
        calls: _Calls,
        guarded: dict[str, Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        """Transfers are under way as the core makes them when the sandbox dies."""
        policy = RetryPolicy(provider, RetryTable(attempts=5, initial_wait_secs=0.05, max_wait_secs=0.1))
        async with Poller(provider) as poller, DeathWatch(sandbox, poller) as watch:
            under_way = [asyncio.create_task(policy.call(name, call, watch=watch)) for name, call in guarded.items()]
            await asyncio.sleep(0)
            await self.kill_sandbox(sandbox)
            await self.until_dead(sandbox)
            calls.dead = True
            for task in under_way:
                try:
                    await self.within(task, "a call must end when its sandbox dies")
                except SandboxDead:
                    continue
                except ProviderError as error:
                    # Faster than the death was told: then it was not to be tried again.
                    must(
                        not provider.is_retryable(error), f"a call on a dead sandbox must end as SandboxDead: {error!r}"
                    )


class _Calls:
    """Counts what is called on one sandbox, also by the provider's own code. Ending one command does not count.

    Attributes:
        dead: whether it is known to be dead; only then calls are counted.
        late: the names of what was called.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.dead = False
        self.late: list[str] = []
        for name in ("exec", "upload", "download"):
            setattr(sandbox, name, self._counted(name, getattr(sandbox, name)))

    def _counted(self, name: str, call: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def counted(argument: Any) -> Any:
            killing = isinstance(argument, Command) and argument.argv[:-1] == _KILLER
            if self.dead and not killing:
                self.late.append(name)
            return await call(argument)

        return counted
