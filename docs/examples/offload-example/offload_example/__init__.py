"""A provider small enough to read: each sandbox is a directory, each command a process of this machine.

It leaves out what only a real backend has: no image, no isolation, and a sandbox "dies" when its directory is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath

from attrs import frozen

from offload_core.abc import (
    Command,
    Context,
    Exit,
    Liveness,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    inherited_environment,
    key,
)
from offload_core.errors import ConnectionLost, CreateFailed, ExecFailed, SandboxDead


@frozen(kw_only=True)
class ExampleOptions:
    """The keys of `[provider]` beside `type`."""

    directory: str = key(tempfile.gettempdir() + "/offload-example", "Where sandboxes are made.")


class ExampleProvider(Provider[ExampleOptions]):
    """Makes directories."""

    Options = ExampleOptions

    def __init__(self, options: ExampleOptions, context: Context) -> None:
        super().__init__(options, context)
        self.processes: dict[str, list[asyncio.subprocess.Process]] = {}

    async def create(self, spec: SandboxSpec) -> Sandbox:
        # The label is part of the name, so it is there as soon as the sandbox is.
        directory = f"{self.options.directory}/{spec.run_id}.{spec.name}"
        try:
            await asyncio.to_thread(Path(directory).mkdir, parents=True)
        except OSError as error:
            raise CreateFailed(str(error), operation="create", provider=self.context.name) from error
        return ExampleSandbox(self, SandboxRef(id=directory, run_id=spec.run_id, name=spec.name), spec)

    def attach(self, ref: SandboxRef) -> Sandbox:
        return ExampleSandbox(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        return await asyncio.to_thread(_made_in, Path(self.options.directory), run_id or "*")


def _made_in(directory: Path, run_id: str) -> list[SandboxRef]:
    made = [(path, path.name.partition(".")) for path in directory.glob(f"{run_id}.*")]
    return [SandboxRef(id=str(path), run_id=run, name=name) for path, (run, _, name) in made]


class ExampleSandbox(Sandbox):
    """A directory. Which processes were started for it is remembered in it: an empty file each, named by its id."""

    def __init__(self, provider: ExampleProvider, ref: SandboxRef, spec: SandboxSpec | None = None) -> None:
        super().__init__(provider, ref)
        self._directory = Path(ref.id)
        self._processes = provider.processes.setdefault(ref.id, [])
        self._env = spec.env if spec else {}
        self._cwd = spec.cwd if spec and spec.cwd else self.root

    @property
    def root(self) -> PurePosixPath:
        return PurePosixPath(self.provider.context.project_dir)

    async def exec(self, command: Command) -> Process:
        if not self._directory.exists():
            raise SandboxDead("its directory is gone", operation="exec", sandbox=self.ref.id)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                cwd=command.cwd or self._cwd,
                env={**inherited_environment(), **self._env, **command.env},
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise ExecFailed(str(error), operation="exec", sandbox=self.ref.id) from error
        self._processes.append(process)
        (self._directory / str(process.pid)).touch()
        return ExampleProcess(self, command, process)

    async def probe(self) -> Liveness:
        return Liveness.alive() if self._directory.exists() else Liveness.dead("its directory is gone")

    async def terminate(self) -> None:
        for group in [int(path.name) for path in self._directory.glob("[0-9]*")]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in self._processes))
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)


class ExampleProcess(Process):
    """A process of this machine."""

    def __init__(self, sandbox: Sandbox, command: Command, process: asyncio.subprocess.Process) -> None:
        super().__init__(sandbox, command)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._stdin = process, process.stdin
        self.stdout, self.stderr = _chunks(process.stdout), _chunks(process.stderr)

    async def write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
            await self._stdin.drain()
        except OSError as error:
            raise ConnectionLost("the process does not read", operation="write", sandbox=self.sandbox.ref.id) from error

    async def close_stdin(self) -> None:
        self._stdin.close()

    async def wait(self) -> Exit:
        code = await self._process.wait()
        return Exit(signal=-code) if code < 0 else Exit(code)


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await stream.read(1 << 16):
        yield chunk
