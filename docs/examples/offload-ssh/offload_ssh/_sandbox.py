"""A directory on a host, and the commands that run in it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from offload_core.abc import Command, Exit, Liveness, Process, Sandbox, SandboxRef, SandboxSpec
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead

from . import _scripts
from ._host import Host, Session

if TYPE_CHECKING:
    from ._provider import SshProvider

_UNREAD_SECS = 1.0


class SshSandbox(Sandbox):
    """A directory on a host."""

    provider: SshProvider

    def __init__(self, provider: SshProvider, ref: SandboxRef, spec: SandboxSpec | None = None) -> None:
        super().__init__(provider, ref)
        self.directory = provider.directory_of(ref)
        self._env = spec.env if spec else {}
        self._cwd = spec.cwd if spec and spec.cwd else self.root

    @property
    def host(self) -> Host:
        """Where it is."""
        return self.provider.host(self.ref.where)

    @property
    def root(self) -> PurePosixPath:
        return PurePosixPath(self.directory, "project")

    @property
    def scratch(self) -> PurePosixPath:
        return PurePosixPath(self.directory, "scratch")

    async def exec(self, command: Command) -> Process:
        starting = asyncio.ensure_future(self._start(command))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait({starting})  # what has not started yet cannot be killed yet
            if not starting.exception():
                await starting.result().abandon()
            raise

    async def _start(self, command: Command) -> Process:
        env = {**self._env, **command.env, _scripts.MARK: self.ref.id}
        cwd = str(command.cwd or self._cwd)
        session = await self.host.start(_scripts.start(self.directory, cwd, env, command.argv))
        started = await anext(session.stdout, b"")
        if not started:
            raise await self.lost(await session.wait())
        return SshProcess(self, command, session, started[1:])

    async def lost(self, code: int | None) -> ProviderError:
        """Why a command did not start, or nobody knows how it ended."""
        answer = await self.probe()
        name = self.provider.context.name
        if answer.is_dead:
            return SandboxDead(answer.reason, operation="exec", sandbox=self.ref.id, provider=name)
        why = f"the connection to {self.ref.where} broke" if code is None else f"ssh ended with exit code {code}"
        return ConnectionLost(why, operation="exec", sandbox=self.ref.id, provider=name)

    async def probe(self) -> Liveness:
        return (await self.provider.probe_many([self.ref]))[self.ref]

    async def terminate(self) -> None:
        done = await self.host.run(_scripts.end(self.directory, self.ref.id))
        if not done.exit.ok:
            said = done.stderr.decode(errors="replace").strip()
            name = self.provider.context.name
            raise ProviderError(f"{done.exit}: {said}", operation="terminate", sandbox=self.ref.id, provider=name)


class SshProcess(Process):
    """A command on a host. `first` is what came with the sign that it had started."""

    sandbox: SshSandbox

    def __init__(self, sandbox: SshSandbox, command: Command, session: Session, first: bytes) -> None:
        super().__init__(sandbox, command)
        self._session = session
        self.stdout, self.stderr = _Output(first, session.stdout), session.stderr
        self._exit: Exit | None = None

    async def write(self, data: bytes) -> None:
        try:
            await self._session.stdin.write(data)
        except BrokenPipeError as error:
            raise ConnectionLost("the process does not read", operation="write", sandbox=self.sandbox.ref.id) from error

    async def close_stdin(self) -> None:
        await self._session.stdin.close()

    async def kill(self) -> None:
        """As the default; but while nobody reads what was written, `ssh` would wait for that."""
        await super().kill()
        client = self._session.client
        try:
            async with asyncio.timeout(_UNREAD_SECS):
                await client.wait()
        except TimeoutError:
            self._exit = Exit(signal=signal.SIGKILL)
            client.kill()

    async def wait(self) -> Exit:
        code = await self._session.wait()
        if self._exit is None and (code is None or code == 255):
            lost = await self.sandbox.lost(code)
            if code is None or isinstance(lost, SandboxDead):
                raise lost
        self._exit = self._exit or Exit(code)
        return self._exit


class _Output(AsyncIterator[bytes]):
    """A stream of which the first bytes have been read already."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._first, self._rest = first, rest

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        return first or await anext(self._rest)
