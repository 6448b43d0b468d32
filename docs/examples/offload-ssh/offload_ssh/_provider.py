"""The provider: what `offload_core.abc` asks, in terms of hosts, directories and processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from secrets import token_hex

from attrs import frozen

from offload_core.abc import (
    Command,
    Context,
    Finding,
    Health,
    Liveness,
    PrepareRequest,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    Severity,
    Upload,
    key,
)
from offload_core.errors import CreateFailed, NotFound, PrepareFailed, ProviderError

from . import _scripts
from ._host import Host
from ._sandbox import SshSandbox

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
    contract = 1
    needs_sandbox_root = False

    def __init__(self, options: SshOptions, context: Context) -> None:
        super().__init__(options, context)
        self._hosts: dict[str, Host] = {}
        self._turns = itertools.cycle(options.hosts)
        self._context = context.project_dir
        self._files: Sequence[str] = ()
        self._copies: Sequence[Upload] = ()
        self._init: str | None = None

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
        self._context = request.context
        self._files = await asyncio.to_thread(_files, request)
        self._copies = [Upload(source, target) for source, target in request.copy]
        self._init = request.init

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
            with contextlib.suppress(ProviderError):  # why it could not be made is what there is to say
                await asyncio.shield(sandbox.terminate())
            raise
        return sandbox

    async def _make(self, sandbox: SshSandbox, spec: SandboxSpec) -> None:
        done = await sandbox.host.run(_scripts.make(self.options.directory, sandbox.ref.id, spec.lifetime))
        if not done.exit.ok:
            said = done.stderr.decode(errors="replace").strip()
            raise CreateFailed(said, operation="create", provider=self.context.name)
        await sandbox.upload([Upload(self._context / name, sandbox.root / name) for name in self._files])
        await sandbox.upload(self._copies)
        if self._init:
            done = await sandbox.run(Command(argv=("/bin/sh", "-c", self._init)))
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


def _ref(line: str, host: str) -> SandboxRef:
    id, _, expires = line.partition(" ")
    run, _, name = id.rpartition("-")[0].partition(".")
    return SandboxRef(id=id, run_id=run, name=name, where=host, expires=float(expires) if expires else None)


def _liveness(state: str, host: str) -> Liveness:
    if state in _DEATHS:
        return Liveness.dead(_DEATHS[state].format(host))
    return Liveness.alive() if state == "alive" else Liveness.unknown(f"it is being made on {host}")


def _files(request: PrepareRequest) -> Sequence[str]:
    """The project's files as git knows them, or all where git does not, without what Offload itself writes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=request.context, capture_output=True, check=True).stdout
        found = [PurePosixPath(os.fsdecode(name)) for name in listed.split(b"\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [PurePosixPath(path.relative_to(request.context)) for path in request.context.rglob("*")]
    left_out = set(request.exclude)
    kept = (path for path in found if not left_out & {path, *path.parents})
    return [str(path) for path in kept if (request.context / path).is_file()]
