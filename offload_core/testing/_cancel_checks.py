"""Checks of cancelling: a call ends when it is cancelled, and leaves everything as it was, or as it was to become."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ..abc import Sandbox
from ._checks import Checks, check, drain, in_sandbox, must, new_run, run_shell

_MOMENTS = (0, 1, 2, 4, 8, 16, 32, None)


class CancelChecks(Checks):
    """The core cancels calls when a sandbox dies or a run is interrupted. `exec`, `create`, transfers: elsewhere."""

    @in_sandbox
    async def test_questions_cancelled(self, sandbox: Sandbox) -> None:
        """A question that is cancelled ends, and touches neither the sandbox nor what runs in it."""
        provider = self.maker
        process = await self.start(sandbox, "exec cat")
        questions: dict[str, Callable[[], Awaitable[Any]]] = {
            "probe": sandbox.probe,
            "probe_many": partial(provider.probe_many, [sandbox.ref]),
            "wait_dead": sandbox.wait_dead,
            "list": partial(provider.list, sandbox.ref.run_id),
            "check": provider.check,
            "Process.wait": process.wait,
        }
        for name, ask in questions.items():
            for moment in _MOMENTS:
                await self.cancelled(ask(), moment, f"a cancelled `{name}` must return")
        must((await sandbox.probe()).status == "alive", "cancelling a question must not touch the sandbox")
        untouched = "cancelling `wait` must not touch the process"
        await self.succeeds(process.write(b"still here"), untouched)
        await self.succeeds(process.close_stdin(), untouched)
        answer = asyncio.gather(anext(aiter(process.stdout)), process.wait())
        said, ended = await self.succeeds(answer, untouched)
        must((said, ended.ok) == (b"still here", True), f"{untouched}: {said!r}, {ended}")

    @in_sandbox
    async def test_write_cancelled(self, sandbox: Sandbox) -> None:
        """A `write` that nobody reads can be cancelled, and its process can be ended then."""
        process = await self.start(sandbox, "exec sleep 600")
        writing = asyncio.ensure_future(process.write(bytes(64 << 20)))
        await run_shell(sandbox, "true")
        writing.cancel()
        await self.succeeds(asyncio.wait({writing}), "a cancelled `write` must return")
        await self.succeeds(process.kill(), "`kill` must return after a cancelled `write`")
        await self.succeeds(process.wait(), "`wait` must return after `kill`")

    @in_sandbox
    async def test_kill_cancelled(self, sandbox: Sandbox) -> None:
        """A cancelled `kill` ends; called again, it does what it has to do."""
        for moment in _MOMENTS:
            process = await self.start(sandbox, "exec sleep 600")
            await self.cancelled(process.kill(), moment, "a cancelled `kill` must return")
            await self.succeeds(process.kill(), "`kill` must return after a cancelled one")
            ended = await self.succeeds(process.wait(), "`kill` must work after a cancelled one")
            must(not ended.ok, f"a killed command must not look as if it had ended well: {ended!r}")
            await self.succeeds(drain(process), "the streams must end after `kill`")

    @check
    async def test_terminate_cancelled(self) -> None:
        """A cancelled `terminate` ends; called again, it leaves nothing."""
        async with self.provider() as provider:
            for moment in _MOMENTS:
                run = new_run()
                sandbox = await self.create(provider, run_id=run)
                await self.cancelled(sandbox.terminate(), moment, "a cancelled `terminate` must return")
                await self.succeeds(sandbox.terminate(), "`terminate` must return after a cancelled one")
                await self.nothing_left(provider, run, "`terminate` must work after a cancelled one")
