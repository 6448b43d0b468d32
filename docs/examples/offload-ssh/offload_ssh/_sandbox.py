"""A directory on a host, and the commands that run in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import PurePosixPath

from typing_extensions import override

from offload_core.abc import Command, Context, Exit, Liveness, Process, SandboxRef, SandboxSpec
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead
from offload_core.kit import ClientProcess, ShellSandbox, naming

from . import _scripts
from ._host import LOST, Host, Session

_DEATHS = {
    "gone": "its directory is gone from {}",
    "ended": "its keeper does not run on {} any more: it was killed, or the host was restarted",
}


async def probes(host: Host, directories: Sequence[str]) -> Sequence[Liveness]:
    """An answer for each sandbox of a host, by one command."""
    try:
        done = await host.run(_scripts.states(directories))
    except ProviderError as error:
        return [Liveness.unknown(str(error))] * len(directories)
    return [_liveness(state, host.name) for state in done.stdout.decode(errors="replace").split()]


def _liveness(state: str, host: str) -> Liveness:
    if state in _DEATHS:
        return Liveness.dead(_DEATHS[state].format(host))
    return Liveness.alive() if state == "alive" else Liveness.unknown(f"it is being made on {host}")


class SshSandbox(ShellSandbox):
    """A directory on a host."""

    def __init__(
        self, ref: SandboxRef, context: Context, host: Host, directory: str, spec: SandboxSpec | None = None
    ) -> None:
        super().__init__(ref, context)
        self._host = host
        self._directory = directory
        self._env = spec.env if spec else {}
        self._cwd = spec.cwd if spec and spec.cwd else self.root

    @property
    @override
    def root(self) -> PurePosixPath:
        return PurePosixPath(self._directory, "project")

    @property
    @override
    def scratch(self) -> PurePosixPath:
        return PurePosixPath(self._directory, "scratch")

    @override
    async def exec(self, command: Command) -> Process:
        with naming("exec", self):
            return await self._host.tasks.make(self._start(command), Process.abandon, wait=True)

    async def _start(self, command: Command) -> Process:
        env = {**self._env, **command.env, _scripts.MARK: self.ref.id}
        cwd = str(command.cwd or self._cwd)
        session = await self._host.start(_scripts.start(self._directory, cwd, env, command.argv))
        started = await anext(session.client.stdout, b"")
        if not started:
            raise await self.lost(session)
        return SshProcess(self, command, session, started[1:])

    async def lost(self, session: Session) -> ProviderError:
        """Why a command did not start, or nobody knows how it ended."""
        answer = await self.probe()
        if answer.is_dead:
            return SandboxDead(answer.reason)
        code = await session.wait()
        return ConnectionLost(f"the connection to {self.ref.where} broke" if code is None else f"ssh: exit code {code}")

    @override
    async def probe(self) -> Liveness:
        (answer,) = await probes(self._host, [self._directory])
        return answer

    @override
    async def terminate(self) -> None:
        with naming("terminate", self):
            done = await self._host.run(_scripts.end(self._directory, self.ref.id))
            if not done.exit.ok:
                raise ProviderError(f"{done.exit}: {done.stderr.decode(errors='replace').strip()}")


class SshProcess(ClientProcess):
    """A command on a host. `first` is what came with the sign that it had started."""

    sandbox: SshSandbox

    def __init__(self, sandbox: SshSandbox, command: Command, session: Session, first: bytes) -> None:
        super().__init__(sandbox, command, session.client)
        self.stdout = _Output(first, session.client.stdout)
        self._session = session
        self._killed = False

    @override
    async def kill(self) -> None:
        self._killed = True
        await super().kill()

    @override
    async def wait(self) -> Exit:
        ended = await self.client.wait()
        if ended.signal is not None and self._killed:
            return ended
        if await self._session.wait() in (None, LOST):
            lost = await self.sandbox.lost(self._session)
            if await self._session.wait() is None or isinstance(lost, SandboxDead):
                with naming("wait", self.sandbox):
                    raise lost
        return ended


class _Output(AsyncIterator[bytes]):
    """A stream of which the first bytes have been read already."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._first, self._rest = first, rest

    @override
    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        return first or await anext(self._rest)
