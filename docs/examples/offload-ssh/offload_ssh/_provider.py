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
from typing_extensions import override

from offload_core.abc import (
    Command,
    Completed,
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
from offload_core.kit import naming, run_command

from . import _scripts
from ._host import Host
from ._sandbox import SshSandbox, probes

_TOOLS = """\
for tool in setsid grep base64 tar; do command -v "$tool" >/dev/null || echo "there is no $tool" >&2; done
[ -r /proc/self/environ ] || echo "there is no /proc" >&2
"""


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
    contract = 2
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

    def _host(self, name: str) -> Host:
        """The host of that name; its connections are made when they are needed."""
        if name not in self._hosts:
            options = self.options
            self._hosts[name] = Host(name, options.ssh, options.sessions_per_connection, self._sockets)
        return self._hosts[name]

    def _directory(self, ref: SandboxRef) -> str:
        """A sandbox's directory on its host."""
        return f"{self.options.directory}/{ref.id}"

    @override
    async def prepare(self, request: PrepareRequest) -> None:
        """There is no image: each sandbox gets a copy of the project when it is made."""
        self._context = request.context
        self._files = await asyncio.to_thread(_files, request)
        self._copies = [Upload(source, target) for source, target in request.copy]
        self._init = request.init

    @override
    async def create(self, spec: SandboxSpec) -> Sandbox:
        with naming("create", self):
            name = next(self._turns, None)
            if name is None:
                raise NotFound("no hosts: set `hosts` in `[provider]`")
            id = f"{spec.run_id}.{spec.name}-{token_hex(4)}"
            expires = time.time() + spec.lifetime
            ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, where=name, expires=expires)
            host = self._host(name)
            return await host.tasks.make(self._make(host, ref, spec), SshSandbox.terminate, wait=True)

    async def _make(self, host: Host, ref: SandboxRef, spec: SandboxSpec) -> SshSandbox:
        sandbox = SshSandbox(ref, self.context, host, self._directory(ref), spec)
        try:
            await self._furnish(host, sandbox, spec)
        except BaseException:
            with contextlib.suppress(ProviderError):  # why it could not be made is what there is to say
                await sandbox.terminate()
            raise
        return sandbox

    async def _furnish(self, host: Host, sandbox: SshSandbox, spec: SandboxSpec) -> None:
        done = await host.run(_scripts.make(self.options.directory, sandbox.ref.id, spec.lifetime))
        if not done.exit.ok:
            raise CreateFailed(_said(done))
        await sandbox.upload([Upload(self._context / name, sandbox.root / name) for name in self._files])
        await sandbox.upload(self._copies)
        if self._init:
            done = await run_command(sandbox, Command(argv=("/bin/sh", "-c", self._init)))
            if not done.exit.ok:
                raise PrepareFailed(f"`sandbox_init_cmd`: {done.exit}: {_said(done)}")

    @override
    def attach(self, ref: SandboxRef) -> Sandbox:
        return SshSandbox(ref, self.context, self._host(ref.where), self._directory(ref))

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        async def on(name: str) -> list[SandboxRef]:
            done = await self._host(name).run(_scripts.listing(self.options.directory))
            return [_ref(line, name) for line in done.stdout.decode().splitlines()]

        found = itertools.chain.from_iterable(await asyncio.gather(*map(on, self.options.hosts)))
        return [ref for ref in found if run_id in (None, ref.run_id)]

    @override
    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """One command a host, whatever the number of sandboxes."""
        by_host = defaultdict(list)
        for ref in refs:
            by_host[ref.where].append(ref)
        answers: dict[SandboxRef, Liveness] = {}

        async def ask(name: str, refs: Sequence[SandboxRef]) -> None:
            told = await probes(self._host(name), [*map(self._directory, refs)])
            answers.update(zip(refs, told, strict=False))

        await asyncio.gather(*(ask(name, refs) for name, refs in by_host.items()))
        return answers

    @override
    def is_retryable(self, error: ProviderError) -> bool:
        """A directory that this user cannot make today cannot be made in a second."""
        refused = ("belongs to somebody else", "Permission denied")
        if isinstance(error, CreateFailed) and any(words in error.message for words in refused):
            return False
        return super().is_retryable(error)

    @override
    async def check(self) -> Health:
        async def on(name: str) -> Finding:
            try:
                done = await self._host(name).run(_TOOLS)
            except ProviderError as error:
                return Finding(Severity.ERROR, str(error), f"try: {' '.join(self.options.ssh)} {name} true")
            if done.stderr:
                return Finding(Severity.ERROR, f"{name}: {_said(done)}", "install it")
            return Finding(Severity.OK, f"{name} answers")

        if not self.options.hosts:
            return Health((Finding(Severity.ERROR, "no hosts", "set `hosts` in `[provider]`"),))
        return Health(tuple(await asyncio.gather(*map(on, self.options.hosts))))

    @override
    async def aclose(self) -> None:
        await asyncio.gather(*(host.aclose() for host in self._hosts.values()))
        if self._hosts:
            await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)


def _said(done: Completed) -> str:
    return done.stderr.decode(errors="replace").strip()


def _ref(line: str, host: str) -> SandboxRef:
    id, _, expires = line.partition(" ")
    run, _, name = id.rpartition("-")[0].partition(".")
    return SandboxRef(id=id, run_id=run, name=name, where=host, expires=float(expires) if expires else None)


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
