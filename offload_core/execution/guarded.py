"""The sandbox as a framework sees it: every call races against the sandbox's death, and is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import frozen

from ..abc import Command, Process, Upload
from ..errors import OperationTimedOut
from ..liveness import DeathWatch
from ..retry import RetryPolicy


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
