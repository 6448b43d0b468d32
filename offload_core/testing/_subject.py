"""What `offload conformance` checks: a provider that is installed, and how its sandboxes are made and made to die."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from ..abc import Image, PrepareRequest, Provider, Sandbox
from ._checks import must
from ._conformance import ProviderConformance


@frozen(kw_only=True)
class Subject:
    """What is checked, and how.

    Attributes:
        make: makes a provider object.
        request: what its image is made from, once.
        kill_command: makes a sandbox die; `{sandbox_id}`, `{name}`, `{run_id}` and `{where}` in it are of its
            reference. Empty: another provider object terminates it.
        images: the image, when it has been made.
        patience_secs: as `ProviderConformance` has it.
        enforces_lifetime: as `ProviderConformance` has it.
        at_once: as `ProviderConformance` has it.
    """

    make: Callable[[], Provider[Any]]
    request: PrepareRequest
    kill_command: str = ""
    patience_secs: float = ProviderConformance.patience_secs
    enforces_lifetime: bool = True
    at_once: int = ProviderConformance.at_once
    images: list[Image | None] = field(factory=list)

    async def image(self, provider: Provider[Any]) -> Image | None:
        """The image, made by the first who asks."""
        if not self.images:
            self.images.append(await provider.prepare(self.request))
        return self.images[0]

    async def kill(self, sandbox: Sandbox) -> None:
        """Make a sandbox die without the object under test having a part in it."""
        if self.kill_command:
            return await self._run_kill_command(sandbox)
        async with self.make() as other:
            failed = await other.terminate_many([sandbox.ref])
        must(not failed, f"`terminate_many` must end what another provider object made: {failed}")

    async def _run_kill_command(self, sandbox: Sandbox) -> None:
        ref = sandbox.ref
        words = shlex.split(self.kill_command)
        known = {"{sandbox_id}": ref.id, "{name}": ref.name, "{run_id}": ref.run_id, "{where}": ref.where}
        for placeholder, value in known.items():
            words = [word.replace(placeholder, value) for word in words]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stderr=pipe)
        _, said = await process.communicate()
        told = said.decode(errors="replace").strip()
        must(process.returncode == 0, f"the kill command {shlex.join(words)} failed with {process.returncode}: {told}")
