"""A handle on a sandbox that the user's commands made."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Coroutine, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from offload_core.abc import Command, Completed, Download, Liveness, Process, Sandbox, SandboxRef, Upload
from offload_core.errors import ExecFailed, ProviderError, SandboxDead
from offload_core.kit import kill_command

from . import _transfer
from ._client import Client
from ._input import FedInput, fed
from ._lifecycle import DOWNLOAD, UPLOAD, Step, tail
from ._process import CommandProcess, NoInput
from ._state import State
from ._template import fill, remote_line

if TYPE_CHECKING:
    from ._provider import CommandProvider

_TOKEN = "offload-alive"


class CommandSandbox(Sandbox):
    """As the contract says. All handles on one sandbox share what is known of it."""

    provider: CommandProvider

    def __init__(self, provider: CommandProvider, ref: SandboxRef, state: State) -> None:
        super().__init__(provider, ref)
        self._state = state

    @property
    def scratch(self) -> PurePosixPath:
        """In /tmp of the sandbox, named after its id: some share a file system."""
        name = re.sub(r"[^\w.-]", "_", self.ref.id, flags=re.ASCII)[-100:]
        if name != self.ref.id:
            name += f"-{hashlib.sha256(self.ref.id.encode()).hexdigest()[:8]}"
        return PurePosixPath("/tmp") / f"offload-{name}"

    # -- commands -------------------------------------------------------------------------------------------------

    async def exec(self, command: Command) -> Process:
        """As the contract says. The first command of a run is preceded by one that tries what `exec_command` can do."""
        self._check_alive("exec")
        if command.mark is None:  # what kills others needs no input, and must not wait for anything
            return await self._start(command, stdin=False)
        if await self.provider.input.passes(self._start):
            return await self._start(command)
        directory = self.scratch / f"input-{command.mark}"
        client = await self._client(fed(command, directory), stdin=False)
        return CommandProcess(self, command, self._state, client, FedInput(self._run, command, directory, client))

    async def _start(self, command: Command, *, stdin: bool = True) -> CommandProcess:
        client = await self._client(command, stdin=stdin)
        return CommandProcess(self, command, self._state, client, client.stdin or NoInput())

    async def _client(self, command: Command, *, stdin: bool) -> Client:
        self._check_alive("exec")
        values = {"sandbox_id": self.ref.id, "command": remote_line(command, self._state.cwd, self._state.env)}
        line = fill(self.provider.options.exec_command, values)
        try:
            client = await self.provider.clients.start(line, stdin=stdin)
        except (OSError, ValueError) as error:
            raise self._name(ExecFailed(f"cannot start `exec_command`: {error}", operation="exec")) from error
        except asyncio.CancelledError:
            mark = command.mark
            if mark is not None:
                await self.provider.clients.finish(self._killed(mark))
            raise
        self._state.watch(client)
        if self._state.dead.done():  # it died while this started
            await self.provider.clients.finish(client.kill())
            self._check_alive("exec")
        return client

    async def _killed(self, mark: str) -> None:
        """Kill in the sandbox what was started in spite of all."""
        try:
            await self._run(kill_command(mark))
        except ProviderError:
            pass  # it is dead, or cannot be reached: then nothing was started

    async def _run(self, command: Command) -> Completed:
        """Run a command without input to its end."""
        process = await self._start(command, stdin=False)
        try:
            return await process.communicate()
        except BaseException:
            await self.provider.clients.finish(process.end_here())
            raise

    # -- files ----------------------------------------------------------------------------------------------------

    async def upload(self, files: Sequence[Upload]) -> None:
        """As the contract says: by `upload_command`, if there is one and no path has a colon in it."""
        self._check_alive("upload")
        template = self.provider.options.upload_command
        sources = [PurePosixPath(file.source) for file in files if not isinstance(file.source, bytes)]
        if not files or template is None or not _transfer.sayable([*sources, *(file.target for file in files)]):
            return await super().upload(files)

        async def copy(paths: str) -> None:
            await self._by(UPLOAD, template, paths)

        await self._named(_transfer.upload(files, copy))

    async def download(self, files: Sequence[Download]) -> None:
        """As the contract says: by `download_command`, if there is one and no path has a colon in it."""
        self._check_alive("download")
        template = self.provider.options.download_command
        if not files or template is None or not _transfer.sayable([file.source for file in files]):
            return await super().download(files)

        async def copy(paths: str) -> None:
            await self._by(DOWNLOAD, template, paths)

        await self._named(_transfer.download(files, copy, self._run))

    async def _by(self, step: Step, template: str, paths: str) -> None:
        await self.provider.run(step, fill(template, {"sandbox_id": self.ref.id}, paths), self._state)

    # -- life and death -------------------------------------------------------------------------------------------

    async def probe(self) -> Liveness:
        """As the contract says: by `probe_command`; without one, a command is run if one has failed before."""
        state = self._state
        if not state.dead.done():
            if self.provider.options.probe_command is not None:
                return await self.provider.probe(state)
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
            self._state.doubted = False
            return
        said = tail(done.stderr)
        self._state.die(f"no command can be run in it any more ({done.exit}{': ' if said else ''}{said})")

    async def wait_dead(self) -> Liveness:
        """As the contract says: at once when a command says so, else by polling."""
        polling = asyncio.ensure_future(super().wait_dead())
        try:
            await asyncio.wait({polling, self._state.dead}, return_when=asyncio.FIRST_COMPLETED)
            return self._state.dead.result() if self._state.dead.done() else polling.result()
        finally:
            polling.cancel()
            await asyncio.wait({polling})

    async def terminate(self) -> None:
        """As the contract says: by `destroy_command`, unless a command said that it is dead."""
        await self.provider.destroy(self._state)

    # -- errors ---------------------------------------------------------------------------------------------------

    def _check_alive(self, operation: str) -> None:
        if self._state.dead.done():
            raise self._name(SandboxDead(self._state.dead.result().reason, operation=operation))

    async def _named(self, transfer: Coroutine[Any, Any, None]) -> None:
        try:
            await transfer
        except ProviderError as error:
            raise self._name(error) from error.__cause__

    def _name(self, error: ProviderError) -> ProviderError:
        error.sandbox, error.provider = self.ref.id, self.provider.context.name
        return error
