"""A provider small enough to read: each sandbox is a directory, and commands are processes of this machine.

It leaves out what only a real backend has. There is no image and no isolation, and a sandbox counts as dead when its
directory is gone. Processes are found under Linux's /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from secrets import token_hex

from attrs import frozen
from typing_extensions import override

from offload_core.abc import Command, Context, Liveness, Process, Provider, Sandbox, SandboxRef, SandboxSpec, key
from offload_core.errors import CreateFailed, ProviderError, SandboxDead
from offload_core.kit import ClientProcess, HostProcess, ShellSandbox, inherited_environment, kill_command

MARK = "OFFLOAD_EXAMPLE"
"""The variable that every process of a sandbox carries, with the sandbox's id."""


@frozen(kw_only=True)
class ExampleOptions:
    """The keys of `[provider]` beside `type`."""

    directory: str = key(tempfile.gettempdir() + "/offload-example", "Where sandboxes are made.")


class ExampleProvider(Provider[ExampleOptions]):
    """Makes directories, named RUN.NAME.HEX: the labels are there as soon as the sandbox is."""

    Options = ExampleOptions
    contract = 2
    needs_sandbox_root = False

    def __init__(self, options: ExampleOptions, context: Context) -> None:
        super().__init__(options, context)
        self._directory = Path(options.directory)

    @override
    async def create(self, spec: SandboxSpec) -> Sandbox:
        id = f"{spec.run_id}.{spec.name}.{token_hex(4)}"
        directory = self._directory / id
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise CreateFailed(str(error), operation="create", provider=self.context.name) from error
        return ExampleSandbox(SandboxRef(id=id, run_id=spec.run_id, name=spec.name), self.context, directory, spec)

    @override
    def attach(self, ref: SandboxRef) -> Sandbox:
        return ExampleSandbox(ref, self.context, self._directory / ref.id)

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        found = [path.name for path in self._directory.glob(f"{run_id or '*'}.*.*")]
        return [SandboxRef(id=id, run_id=id.split(".")[0], name=id.split(".")[1]) for id in found]


class ExampleSandbox(ShellSandbox):
    """A directory, and whatever runs with its id in the environment."""

    def __init__(self, ref: SandboxRef, context: Context, directory: Path, spec: SandboxSpec | None = None) -> None:
        super().__init__(ref, context)
        self._directory = directory
        self._env = {**inherited_environment(), **(spec.env if spec else {}), MARK: ref.id}
        self._cwd = spec.cwd if spec and spec.cwd else self.root

    @property
    @override
    def root(self) -> PurePosixPath:
        return PurePosixPath(self.context.project_dir)

    @property
    @override
    def shares_root(self) -> bool:
        return True

    @override
    async def exec(self, command: Command) -> Process:
        if (await self.probe()).is_dead:
            raise SandboxDead("its directory is gone", operation="exec", sandbox=self.ref.id)
        env, cwd = {**self._env, **command.env}, command.cwd or self._cwd
        process = await ClientProcess.start(self, command, command.argv, env=env, cwd=cwd)
        if (await self.probe()).is_dead:  # whoever ended it meanwhile may not have seen this command
            await asyncio.shield(self.terminate())
            raise SandboxDead("its directory is gone", operation="exec", sandbox=self.ref.id)
        return process

    @override
    async def probe(self) -> Liveness:
        return Liveness.alive() if self._directory.exists() else Liveness.dead("its directory is gone")

    @override
    async def terminate(self) -> None:
        gone = self._directory.with_name("gone-" + self.ref.id.replace(".", "-"))
        with contextlib.suppress(FileNotFoundError):
            self._directory.rename(gone)  # from now on nothing starts in it
        killer = await HostProcess.start(kill_command(self.ref.id, MARK))
        if not (await killer.communicate()).exit.ok:
            raise ProviderError("something runs on in it", operation="terminate", sandbox=self.ref.id)
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
