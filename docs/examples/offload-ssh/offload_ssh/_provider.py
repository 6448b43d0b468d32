"""The provider: what `offload_core.abc` asks, in terms of hosts, directories and processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from secrets import token_hex

from attrs import frozen

from offload_core.abc import (
    Command,
    Context,
    Exit,
    Finding,
    Health,
    Liveness,
    PrepareRequest,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    Severity,
    Upload,
    key,
)
from offload_core.errors import ConnectionLost, CreateFailed, NotFound, PrepareFailed, ProviderError, SandboxDead

from . import _scripts
from ._host import Host, Session

_UNREAD_SECS = 1.0
_TOOLS = """\
for tool in setsid grep base64 tar; do command -v "$tool" >/dev/null || echo "there is no $tool" >&2; done
[ -r /proc/self/environ ] || echo "there is no /proc" >&2
"""
_DEATHS = {
    "gone": "its directory is gone from {}",
    "ended": "its keeper does not run on {} any more: it was killed, or the host was restarted",
}


@frozen(kw_only=True)
class SshOptions:
    """The keys of `[provider]` beside `type`."""

    hosts: tuple[str, ...] = key((), "Where sandboxes are made, in turn: names that `ssh` knows.", example='["build1"]')
    ssh: tuple[str, ...] = key(("ssh",), "The command to connect with, with options of your own.")
    directory: str = key("/tmp/offload-ssh", "Where sandboxes are made on a host; an absolute path.")
    sessions_per_connection: int = key(6, "How many commands share a connection; less than sshd's `MaxSessions`.")


class SshProvider(Provider[SshOptions]):
    """Makes directories on hosts, named RUN.NAME-HEX: the labels are there as soon as the sandbox is."""

    Options = SshOptions
    needs_sandbox_root = False

    def __init__(self, options: SshOptions, context: Context) -> None:
        super().__init__(options, context)
        self._hosts: dict[str, Host] = {}
        self._turns = itertools.cycle(options.hosts)
        self._project: PrepareRequest | None = None

    @cached_property
    def _sockets(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="offload-ssh-"))

    def host(self, name: str) -> Host:
        """The host of that name; its connections are made when they are needed."""
        if name not in self._hosts:
            options = self.options
            self._hosts[name] = Host(name, options.ssh, options.sessions_per_connection, self._sockets)
        return self._hosts[name]

    async def prepare(self, request: PrepareRequest) -> None:
        """There is no image: each sandbox gets a copy of the project when it is made."""
        self._project = request

    async def create(self, spec: SandboxSpec) -> Sandbox:
        name = next(self._turns, None)
        if name is None:
            raise NotFound("no hosts: set `hosts` in `[provider]`", operation="create", provider=self.context.name)
        id = f"{spec.run_id}.{spec.name}-{token_hex(4)}"
        ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, where=name, expires=time.time() + spec.lifetime)
        sandbox = SshSandbox(self, ref, spec)
        making = asyncio.ensure_future(self._make(sandbox, spec))
        try:
            await asyncio.shield(making)
        except BaseException:
            await asyncio.wait({making})  # what has begun on the host must not be overtaken by its end
            await asyncio.shield(sandbox.terminate())
            raise
        return sandbox

    async def _make(self, sandbox: SshSandbox, spec: SandboxSpec) -> None:
        done = await sandbox.host.run(_scripts.make(self.options.directory, sandbox.ref.id, spec.lifetime))
        if not done.exit.ok:
            raise CreateFailed(done.stderr.decode(errors="replace").strip(), operation="create", provider="ssh")
        if (project := self._project) is None:
            return
        await sandbox.upload([Upload(file, sandbox.root / name) for name, file in _files(project).items()])
        await sandbox.upload([Upload(file, target) for file, target in project.copy])
        if project.init:
            done = await sandbox.run(Command(argv=("/bin/sh", "-c", project.init)))
            if not done.exit.ok:
                said = done.stderr.decode(errors="replace").strip()
                raise PrepareFailed(f"`sandbox_init_cmd`: {done.exit}: {said}", operation="create")

    def attach(self, ref: SandboxRef) -> Sandbox:
        return SshSandbox(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        async def on(host: str) -> list[SandboxRef]:
            done = await self.host(host).run(_scripts.listing(self.options.directory))
            return [_ref(line, host) for line in done.stdout.decode().splitlines()]

        found = itertools.chain.from_iterable(await asyncio.gather(*map(on, self.options.hosts)))
        return [ref for ref in found if run_id in (None, ref.run_id)]

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """One command a host, whatever the number of sandboxes."""
        by_host = defaultdict(list)
        for ref in refs:
            by_host[ref.where].append(ref)
        answers: dict[SandboxRef, Liveness] = {}

        async def ask(host: str, refs: Sequence[SandboxRef]) -> None:
            try:
                done = await self.host(host).run(_scripts.states([*map(self.directory_of, refs)]))
            except ProviderError as error:
                answers.update(dict.fromkeys(refs, Liveness.unknown(str(error))))
                return
            states = done.stdout.decode(errors="replace").split()
            answers.update({ref: _liveness(state, host) for ref, state in zip(refs, states, strict=False)})

        await asyncio.gather(*(ask(host, refs) for host, refs in by_host.items()))
        return answers

    def directory_of(self, ref: SandboxRef) -> str:
        """A sandbox's directory on its host."""
        return f"{self.options.directory}/{ref.id}"

    def is_retryable(self, error: ProviderError) -> bool:
        """A directory that this user cannot make today cannot be made in a second."""
        refused = ("belongs to somebody else", "Permission denied")
        if isinstance(error, CreateFailed) and any(words in error.message for words in refused):
            return False
        return super().is_retryable(error)

    async def check(self) -> Health:
        async def on(host: str) -> Finding:
            try:
                done = await self.host(host).run(_TOOLS)
            except ProviderError as error:
                return Finding(Severity.ERROR, str(error), f"try: {' '.join(self.options.ssh)} {host} true")
            if done.stderr:
                return Finding(Severity.ERROR, f"{host}: {done.stderr.decode(errors='replace').strip()}", "install it")
            return Finding(Severity.OK, f"{host} answers")

        if not self.options.hosts:
            return Health((Finding(Severity.ERROR, "no hosts", "set `hosts` in `[provider]`"),))
        return Health(tuple(await asyncio.gather(*map(on, self.options.hosts))))

    async def aclose(self) -> None:
        await super().aclose()
        await asyncio.gather(*(host.aclose() for host in self._hosts.values()))
        if "_sockets" in self.__dict__:
            await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)


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
            raise await self._lost(await session.wait())
        return SshProcess(self, command, session, started[1:])

    async def _lost(self, code: int | None) -> ProviderError:
        """Why a command did not start, or nobody knows how it ended."""
        answer = await self.probe()
        if answer.is_dead:
            return SandboxDead(answer.reason, operation="exec", sandbox=self.ref.id, provider="ssh")
        why = f"the connection to {self.ref.where} broke" if code is None else f"ssh ended with exit code {code}"
        return ConnectionLost(why, operation="exec", sandbox=self.ref.id, provider="ssh")

    async def probe(self) -> Liveness:
        return (await self.provider.probe_many([self.ref]))[self.ref]

    async def terminate(self) -> None:
        done = await self.host.run(_scripts.end(self.directory, self.ref.id))
        if not done.exit.ok:
            said = done.stderr.decode(errors="replace").strip()
            raise ProviderError(f"{done.exit}: {said}", operation="terminate", sandbox=self.ref.id, provider="ssh")


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
            lost = await self.sandbox._lost(code)
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


def _ref(line: str, host: str) -> SandboxRef:
    id, _, expires = line.partition(" ")
    run, _, name = id.rpartition("-")[0].partition(".")
    return SandboxRef(id=id, run_id=run, name=name, where=host, expires=float(expires) if expires else None)


def _liveness(state: str, host: str) -> Liveness:
    if state in _DEATHS:
        return Liveness.dead(_DEATHS[state].format(host))
    return Liveness.alive() if state == "alive" else Liveness.unknown(f"it is being made on {host}")


def _files(request: PrepareRequest) -> dict[str, Path]:
    """The project's files as git knows them, or all where there is no git, without what Offload itself writes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=request.context, capture_output=True, check=False)
    if done.returncode:
        found = [path.relative_to(request.context) for path in request.context.rglob("*") if path.is_file()]
    else:
        found = [Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name]
    left_out = set(map(Path, request.exclude))
    kept = (path for path in found if not left_out & {path, *path.parents})
    return {str(path): request.context / path for path in kept if (request.context / path).is_file()}
