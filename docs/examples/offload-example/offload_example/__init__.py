"""A provider small enough to read: each sandbox is a directory, and commands are processes of this machine.

It leaves out what only a real backend has. There is no image and no isolation, and a sandbox counts as dead when its
directory is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from attrs import frozen

from offload_core.abc import Command, Context, Liveness, Process, Provider, Sandbox, SandboxRef, SandboxSpec, key
from offload_core.errors import CreateFailed, SandboxDead
from offload_core.kit import ClientProcess, inherited_environment


@frozen(kw_only=True)
class ExampleOptions:
    """The keys of `[provider]` beside `type`."""

    directory: str = key(tempfile.gettempdir() + "/offload-example", "Where sandboxes are made.")


class ExampleProvider(Provider[ExampleOptions]):
    """Makes directories, named RUN.NAME: the label is there as soon as the sandbox is."""

    Options = ExampleOptions
    contract = 1
    needs_sandbox_root = False

    def __init__(self, options: ExampleOptions, context: Context) -> None:
        super().__init__(options, context)
        self.directory = Path(options.directory)
        self.processes: dict[str, list[ClientProcess]] = {}

    async def create(self, spec: SandboxSpec) -> Sandbox:
        ref = SandboxRef(id=f"{spec.run_id}.{spec.name}", run_id=spec.run_id, name=spec.name)
        sandbox = ExampleSandbox(self, ref, spec)
        try:
            sandbox.make()
        except OSError as error:
            raise CreateFailed(str(error), operation="create", provider=self.context.name) from error
        return sandbox

    def attach(self, ref: SandboxRef) -> Sandbox:
        return ExampleSandbox(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        names = [path.name.partition(".") for path in self.directory.glob(f"{run_id or '*'}.*")]
        return [SandboxRef(id=run + dot + name, run_id=run, name=name) for run, dot, name in names]


class ExampleSandbox(Sandbox):
    """A directory. Which processes were started for it is remembered in it: an empty file each, named by its id."""

    def __init__(self, provider: ExampleProvider, ref: SandboxRef, spec: SandboxSpec | None = None) -> None:
        super().__init__(provider, ref)
        self._directory = provider.directory / ref.id
        self._processes = provider.processes.setdefault(ref.id, [])
        self._env = {**inherited_environment(), **(spec.env if spec else {})}
        self._cwd = spec.cwd if spec and spec.cwd else self.root

    @property
    def root(self) -> PurePosixPath:
        return PurePosixPath(self.provider.context.project_dir)

    def make(self) -> None:
        self._directory.mkdir(parents=True)

    async def exec(self, command: Command) -> Process:
        if not self._directory.exists():
            raise SandboxDead("its directory is gone", operation="exec", sandbox=self.ref.id)
        env, cwd = {**self._env, **command.env}, command.cwd or self._cwd
        process = await ClientProcess.start(self, command, command.argv, env=env, cwd=cwd)
        self._processes.append(process)
        try:
            (self._directory / str(process.client.pid)).touch()
        except FileNotFoundError as error:  # it died meanwhile
            await process.kill()
            raise SandboxDead("its directory is gone", operation="exec", sandbox=self.ref.id) from error
        return process

    async def probe(self) -> Liveness:
        return Liveness.alive() if self._directory.exists() else Liveness.dead("its directory is gone")

    async def terminate(self) -> None:
        gone = self._directory.with_name("gone-" + self.ref.id.replace(".", "-"))
        with contextlib.suppress(FileNotFoundError):
            self._directory.rename(gone)  # at once, so that no command that starts now leaves something in it
        for group in [int(path.name) for path in gone.glob("[0-9]*")]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in self._processes))
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
