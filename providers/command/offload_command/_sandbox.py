"""A handle on a sandbox that the user's commands made."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from typing_extensions import override

from offload_core.abc import Command, Completed, Context, Download, Liveness, Process, SandboxRef, Upload
from offload_core.errors import SandboxDead
from offload_core.kit import ShellSandbox, check_alive, kill_marked, naming

from . import _transfer
from ._backend import DOWNLOAD, UPLOAD, CommandBackend, Step
from ._client import Client, last_words
from ._input import FedInput, fed
from ._process import CommandProcess
from ._state import SandboxState
from ._template import fill

_TOKEN = "offload-alive"


class CommandSandbox(ShellSandbox):
    """All handles on one sandbox share what is known of it."""

    def __init__(self, ref: SandboxRef, context: Context, backend: CommandBackend, state: SandboxState) -> None:
        super().__init__(ref, context)
        self.state = state
        self._backend = backend

    @property
    @override
    def scratch(self) -> PurePosixPath:
        """In /tmp of the sandbox, named after its id: some share a file system."""
        name = re.sub(r"[^\w.-]", "_", self.ref.id, flags=re.ASCII)[-100:]
        if name != self.ref.id:
            name += f"-{hashlib.sha256(self.ref.id.encode()).hexdigest()[:8]}"
        return PurePosixPath("/tmp") / f"offload-{name}"

    @override
    async def exec(self, command: Command) -> Process:
        """The first command of a run is preceded by one that tries what `exec_command` can do."""
        with naming("exec", self):
            check_alive(self.state.dead)
            if command.mark is None:  # what kills others needs no input, and must not wait for anything
                return await self._start(command, stdin=False)
            if await self._backend.input.passes(self._start):
                return await self._start(command)
            directory = self.scratch / f"input-{command.mark}"
            client = await self._client(fed(command, directory), stdin=False)
            stdin = FedInput(self._run, command, directory, client)
            return CommandProcess(self, command, self.state, client, stdin)

    async def _start(self, command: Command, *, stdin: bool = True) -> CommandProcess:
        return CommandProcess(self, command, self.state, await self._client(command, stdin=stdin))

    async def _client(self, command: Command, *, stdin: bool) -> Client:
        try:
            return await self._backend.start(self.state, command, stdin=stdin)
        except asyncio.CancelledError:  # it may have started in the sandbox all the same
            await self._backend.clients.tasks.finish(kill_marked(self, command))
            raise

    async def _run(self, command: Command) -> Completed:
        """Run a command without input to its end."""
        process = await self._start(command, stdin=False)
        try:
            return await process.communicate()
        except BaseException:
            await self._backend.clients.tasks.finish(process.client.kill())
            raise

    @override
    async def upload(self, files: Sequence[Upload]) -> None:
        """By `upload_command`, if there is one and no path has a colon in it."""
        sources = [PurePosixPath(file.source) for file in files if not isinstance(file.source, bytes)]
        with naming("upload", self):
            if (copy := self._by(UPLOAD, [*sources, *(file.target for file in files)])) is not None:
                return await _transfer.upload(files, copy)
            await super().upload(files)

    @override
    async def download(self, files: Sequence[Download]) -> None:
        """By `download_command`, if there is one and no path has a colon in it."""
        with naming("download", self):
            if (copy := self._by(DOWNLOAD, [file.source for file in files])) is not None:
                return await _transfer.download(files, copy, self._run)
            await super().download(files)

    def _by(self, step: Step, paths: Sequence[PurePosixPath]) -> _transfer.Copy | None:
        """The user's own command for files of these names, if there is one that can bring them."""
        check_alive(self.state.dead)
        template: str | None = getattr(self._backend.options, step.key)
        if template is None or not paths or not _transfer.expressible(paths):
            return None

        async def copy(words: str) -> None:
            await self._backend.run(step, fill(template, {"sandbox_id": self.ref.id}, words), self.state)

        return copy

    @override
    async def probe(self) -> Liveness:
        """By `probe_command`; without one, a command is run if one has failed before."""
        state = self.state
        state.probed = asyncio.get_running_loop().time()
        if not state.dead.done():
            if (probe_command := self._backend.options.probe_command) is not None:
                return await self._backend.probe(state, probe_command)
            if not state.made:
                return Liveness.unknown("there is no `probe_command`")
            if state.doubted:
                await self._try()
        return state.dead.result() if state.dead.done() else Liveness.alive()

    async def _try(self) -> None:
        """See whether a command can still be run; if not, nothing else could be done with the sandbox either."""
        try:
            done = await self._run(Command(argv=("echo", _TOKEN)))
        except SandboxDead:
            return
        if _TOKEN.encode() in done.stdout:
            self.state.doubted = False
            return
        said = last_words(done.stderr)
        self.state.die(f"no command can be run in it any more ({done.exit}{': ' if said else ''}{said})")

    @override
    async def wait_dead(self) -> Liveness:
        """At once when a command says so. It is probed only while nobody else does that: each time is a command."""
        settings, loop = self.context.liveness, asyncio.get_running_loop()
        while not self.state.dead.done():
            await asyncio.wait({self.state.dead}, timeout=settings.interval_secs)
            if loop.time() - self.state.probed > 2 * settings.interval_secs:
                with contextlib.suppress(Exception):  # a probe that errs proves nothing
                    async with asyncio.timeout(settings.timeout_secs):
                        await self.probe()
        return self.state.dead.result()

    @override
    async def terminate(self) -> None:
        """By `destroy_command`, unless a command said that it is dead."""
        with naming("terminate", self):
            await self._backend.destroy(self.state)
