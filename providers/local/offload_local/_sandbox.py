"""A handle on a local sandbox."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from typing_extensions import override

from offload_core.abc import EXEC_MARK, Command, Context, Download, Liveness, Process, Sandbox, SandboxRef, Upload
from offload_core.errors import ExecFailed, ProviderError
from offload_core.kit import check_alive, naming, open_pipes, without_launcher

from ._files import copy_in, copy_out, in_thread
from ._host import Host
from ._process import LocalProcess
from ._traces import remove_directory


class LocalSandbox(Sandbox):
    """A process tree on this machine, with a directory of its own."""

    def __init__(self, ref: SandboxRef, context: Context, host: Host) -> None:
        super().__init__(ref, context)
        self._host = host
        self._instance = host.instances.get(ref.id)

    @property
    @override
    def root(self) -> PurePosixPath:
        """The working directory, or this sandbox's copy of it."""
        return PurePosixPath(self._instance.root if self._instance else self._host.working_dir)

    @property
    @override
    def shares_root(self) -> bool:
        """Unless each has its copy."""
        return self._host.options.isolation == "none"

    @property
    @override
    def scratch(self) -> PurePosixPath:
        """A directory in the private one, which goes when the sandbox ends."""
        return PurePosixPath(self._host.directory_of(self.ref)) / "scratch"

    @override
    async def exec(self, command: Command) -> Process:
        """Only the process that made a sandbox can run commands in it."""
        with naming("exec", self):
            if self._instance is None:
                raise ExecFailed("only the process that made it can run commands in it")
            link = self._instance.link
            check_alive(link.gone)
            command = without_launcher(command)
            argv, cwd, env = self._encoded(command, self._instance.cwd)
            id = secrets.token_hex(8)
            env[EXEC_MARK.encode()] = id.encode()
            try:
                ours, theirs = open_pipes()
            except OSError as error:
                raise ExecFailed(f"no more open files: {error.strerror}; raise `ulimit -n`") from error
            running = await link.exec(id, argv, cwd, env, theirs)
            return LocalProcess(self, command, link, running, ours)

    def _encoded(self, command: Command, cwd: Path) -> tuple[list[bytes], bytes, dict[bytes, bytes]]:
        argv = command.argv
        if argv[:2] == ("/bin/sh", "-c"):
            argv = (self._host.options.shell, *argv[1:])
        try:
            env = {os.fsencode(key): os.fsencode(value) for key, value in command.env.items()}
            return [os.fsencode(word) for word in argv], os.fsencode(command.cwd or cwd), env
        except UnicodeEncodeError as error:
            raise ExecFailed(f"cannot be an argument or a variable: {error}") from error

    @override
    async def upload(self, files: Sequence[Upload]) -> None:
        """A copy on this machine."""
        await self._transfer("upload", lambda stop: copy_in(files, stop))

    @override
    async def download(self, files: Sequence[Download]) -> None:
        """A copy on this machine."""
        await self._transfer("download", lambda stop: copy_out(files, stop))

    async def _transfer(self, operation: str, work: Callable[[threading.Event], None]) -> None:
        with naming(operation, self):
            if self._instance is None:
                return await in_thread(work)
            link = self._instance.link
            check_alive(link.gone)
            try:
                await in_thread(work)
            except ProviderError:
                check_alive(link.gone)
                raise
            finally:
                if link.gone.done():  # the copying may have made the directory again, after its removal
                    await asyncio.to_thread(remove_directory, self._instance.directory)
            check_alive(link.gone)

    @override
    async def probe(self) -> Liveness:
        return (await self._host.probe([self.ref]))[self.ref]

    @override
    async def wait_dead(self) -> Liveness:
        """Pushed for what this process made, else polled."""
        if self._instance is None:
            return await super().wait_dead()
        return await asyncio.shield(self._instance.link.gone)

    @override
    async def terminate(self) -> None:
        for error in (await self._host.terminate([self.ref])).values():
            raise error
