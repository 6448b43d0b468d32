"""A provider that is right, and what its wrong relatives share with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import Command, Context, LivenessSettings, Process, Sandbox, SandboxRef, SandboxSpec
from offload_core.testing import FaultPlan, FaultyProvider, FaultySandbox


class Wrong(FaultyProvider):
    """Passes everything on to local, but for what a subclass or its sandboxes get wrong."""

    sandbox_class: ClassVar[type[FaultySandbox]] = FaultySandbox

    def __init__(self) -> None:
        context = Context(name="local", project_dir=Path("/"), liveness=LivenessSettings(interval_secs=0.1))
        super().__init__(LocalProvider(LocalOptions(), context), FaultPlan())
        self.made: list[Sandbox] = []

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """The inner one's, as the class of sandbox that is wrong."""
        sandbox = await self.inner.create(spec)
        self.made.append(sandbox)
        return self.sandbox_class(self, sandbox)

    def attach(self, ref: SandboxRef) -> Sandbox:
        """The inner one's, as the class of sandbox that is wrong."""
        return self.sandbox_class(self, self.inner.attach(ref))

    async def aclose(self) -> None:
        """End what a failed check has left, then close."""
        await self.inner.terminate_many([sandbox.ref for sandbox in self.made])
        await super().aclose()


class WrongSandbox(FaultySandbox):
    """Passes everything on, and lets a subclass change the processes."""

    async def exec(self, command: Command) -> Process:
        """The inner one's process, changed."""
        process = await super().exec(command)
        self.change(process)
        return process

    def change(self, process: Any) -> None:
        """What is wrong with it."""


@frozen
class Case:
    """A provider, the check that has to fail for it, and words that it has to say.

    Attributes:
        hangs: whether the check fails because something never comes: it need not be waited for as long as on a busy
            machine, where everything comes late.
    """

    wrong: type[Wrong] | type[FaultySandbox]
    check: str
    words: str
    hangs: bool = False

    @property
    def provider_class(self) -> type[Wrong]:
        """The provider, also where only its sandboxes are wrong."""
        if issubclass(self.wrong, Wrong):
            return self.wrong
        return type(self.wrong.__name__, (Wrong,), {"sandbox_class": self.wrong})

    def __str__(self) -> str:
        return f"{self.wrong.__name__}-{self.check.removeprefix('test_')}"


async def hang() -> None:
    """Wait for ever, until it is cancelled."""
    await asyncio.get_running_loop().create_future()


def script(text: str) -> Command:
    """A POSIX shell script."""
    return Command(argv=("/bin/sh", "-c", text))
