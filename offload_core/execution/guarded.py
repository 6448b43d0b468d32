"""The sandbox as a framework sees it: every call races against the sandbox's death, and is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import frozen

from ..abc import Command, Process, Upload
from ..errors import OperationTimedOut
from ..kit import launched
from ..liveness import DeathWatch
from ..retry import RetryPolicy


@frozen(eq=False)
class GuardedExecutor:
    """An `Executor`: starts commands under the launcher. Uploads are retried by the one policy; exec never is."""

    watch: DeathWatch
    retry: RetryPolicy

    async def exec(self, command: Command) -> Process:
        """Start a command; OperationTimedOut if it has not started within `call_timeout_secs`."""
        bound = self.retry.settings.call_timeout_secs
        try:
            async with asyncio.timeout(bound) as limit:
                return await self.watch.guard(self.watch.sandbox.exec(launched(command)))
        except TimeoutError as error:
            if not limit.expired():
                raise
            ref = self.watch.sandbox.ref
            raise OperationTimedOut(f"no answer in {bound:g} s", operation="exec", sandbox=ref.id) from error

    async def upload(self, files: Sequence[Upload]) -> None:
        """Bring files into the sandbox."""
        await self.retry.call("upload", lambda: self.watch.sandbox.upload(files), watch=self.watch)
