"""What a provider inherits is enough: one that overrides nothing keeps the whole contract."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import psutil
import pytest
from attrs import frozen

from offload_core.abc import (
    Command,
    Context,
    Exit,
    Liveness,
    LivenessSettings,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
)
from offload_core.errors import SandboxDead
from offload_core.kit import BackgroundTasks, HostProcess, ShellProcess, ShellSandbox
from offload_core.testing import ProviderConformance

MARK = "MINIMAL_SANDBOX"
MAIN = "MINIMAL_MAIN"


@frozen
class MinimalOptions:
    """There are none."""


class MinimalProvider(Provider[MinimalOptions]):
    """Sandboxes that are one sleeping process each, on this machine. Only what is abstract is implemented."""

    Options = MinimalOptions

    def __init__(self, options: MinimalOptions, context: Context) -> None:
        super().__init__(options, context)
        self.started: list[HostProcess] = []

    async def create(self, spec: SandboxSpec) -> MinimalSandbox:
        """Start the sleeping process."""
        id = f"{spec.run_id}/{spec.name}/{secrets.token_hex(4)}"
        marks = {**os.environ, **spec.env, MARK: id, "MINIMAL_CWD": str(spec.cwd or "/")}
        sandbox = MinimalSandbox(_ref(id), self.context, self.started, marks)
        self.started.append(await BackgroundTasks().make(sandbox.start(), HostProcess.kill, wait=True))
        return sandbox

    def attach(self, ref: SandboxRef) -> MinimalSandbox:
        """A handle."""
        return MinimalSandbox(ref, self.context, self.started, {})

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """From the marks of running processes."""
        refs = {_ref(environment[MARK]) for _, environment in _marked() if MAIN in environment}
        return [ref for ref in refs if run_id in (None, ref.run_id)]

    async def aclose(self) -> None:
        """Wait for the processes, which have been killed: asyncio wants to know of their ends."""
        for process in self.started:
            await process.wait()


class MinimalSandbox(ShellSandbox):
    """One sleeping process, and what else carries its mark."""

    def __init__(
        self, ref: SandboxRef, context: Context, started: list[HostProcess], environment: dict[str, str]
    ) -> None:
        super().__init__(ref, context)
        self.started = started
        self.environment = environment

    async def start(self) -> HostProcess:
        """Start the sleeping process, and wait for its mark: while a process begins, it shows no environment."""
        main = await HostProcess.start(Command(argv=("sleep", "1000"), env={MAIN: "1"}), env=self.environment)
        while (await self.probe()).is_dead and not main.ended.done():
            await asyncio.wait({main.ended}, timeout=0.001)
        return main

    async def exec(self, command: Command) -> MinimalProcess:
        """Start a process with the mark."""
        if (await self.probe()).is_dead:
            raise SandboxDead("its process has ended", operation="exec")
        cwd = PurePosixPath(self.environment["MINIMAL_CWD"])
        inner = await HostProcess.start(command, env=self.environment, cwd=cwd)
        self.started.append(inner)
        return MinimalProcess(self, command, inner)

    async def probe(self) -> Liveness:
        """Look for the sleeping process."""
        main = [environment for _, environment in _marked(self.ref.id) if MAIN in environment]
        return Liveness.alive() if main else Liveness.dead("its process has ended")

    async def terminate(self) -> None:
        """Kill what carries the mark, and clean up."""
        while processes := [process for process, _ in _marked(self.ref.id)]:
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            await asyncio.sleep(0.001)
        await asyncio.to_thread(shutil.rmtree, self.scratch, ignore_errors=True)


class MinimalProcess(ShellProcess):
    """A process of this machine that is killed from within its sandbox."""

    def __init__(self, sandbox: MinimalSandbox, command: Command, inner: HostProcess) -> None:
        super().__init__(sandbox, command)
        self.inner = inner
        self.stdout, self.stderr = inner.stdout, inner.stderr

    async def write(self, data: bytes) -> None:
        """To it."""
        await self.inner.write(data)

    async def close_stdin(self) -> None:
        """Close it."""
        await self.inner.close_stdin()

    async def wait(self) -> Exit:
        """Exit code or signal."""
        return await self.inner.wait()


def _ref(id: str) -> SandboxRef:
    run_id, name, _ = id.split("/")
    return SandboxRef(id=id, run_id=run_id, name=name)


def _marked(id: str | None = None) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if MARK in environment and id in (None, environment[MARK]):
                yield process, environment


def _minimal() -> MinimalProvider:
    liveness = LivenessSettings(interval_secs=0.2)
    return MinimalProvider(MinimalOptions(), Context(name="minimal", liveness=liveness))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the default kill looks processes up under /proc")
class TestDefaults(ProviderConformance):
    """The conformance suite, over everything that a provider inherits."""

    patience_secs = 30.0
    enforces_lifetime = False

    def make_provider(self) -> MinimalProvider:
        """The minimal one."""
        return _minimal()

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill all of its processes, in whatever order."""
        await _minimal().attach(sandbox.ref).terminate()
