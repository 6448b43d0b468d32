"""A handle on a local sandbox."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from attrs import frozen

from offload_core.abc import EXEC_MARK, Command, Download, Liveness, Process, Sandbox, SandboxRef, Upload
from offload_core.errors import ExecFailed, ProviderError
from offload_core.kit import without_launcher

from ._files import copy_in, copy_out, in_thread
from ._link import Link
from ._process import LocalProcess
from ._traces import remove_directory

if TYPE_CHECKING:
    from ._provider import LocalProvider

Ends = tuple[int, int, int]


@frozen(eq=False)
class Made:
    """What the provider object that made a sandbox knows of it, and no other does."""

    link: Link
    directory: Path
    root: Path
    cwd: Path


class LocalSandbox(Sandbox):
    """A process tree on this machine, with a directory of its own."""

    provider: LocalProvider

    def __init__(self, provider: LocalProvider, ref: SandboxRef, made: Made | None = None) -> None:
        super().__init__(provider, ref)
        self._made = made

    @property
    def root(self) -> PurePosixPath:
        """The working directory, or this sandbox's copy of it."""
        return PurePosixPath(self._made.root if self._made else self.provider.working_dir)

    @property
    def shares_root(self) -> bool:
        """Unless each has its copy."""
        return self.provider.options.isolation == "none"

    @property
    def scratch(self) -> PurePosixPath:
        """A directory in the private one, which goes when the sandbox ends."""
        return PurePosixPath(self.provider.directory_of(self.ref)) / "scratch"

    async def exec(self, command: Command) -> Process:
        """As the contract says. Only the process that made a sandbox can run commands in it."""
        if self._made is None:
            raise self._name(ExecFailed("only the process that made it can run commands in it", operation="exec"))
        link = self._made.link
        if link.gone.done():
            raise self._name(link.dead("exec"))
        command = without_launcher(command)
        argv, cwd, env = self._encoded(command, self._made.cwd)
        id = secrets.token_hex(8)
        env[EXEC_MARK.encode()] = id.encode()
        ours, theirs = self._pipes()
        try:
            running = await link.exec(id, argv, cwd, env, theirs)
        except BaseException as error:
            for fd in ours:
                os.close(fd)
            if isinstance(error, ProviderError):
                self._name(error)
            raise
        return LocalProcess(self, command, link, running, ours)

    def _pipes(self) -> tuple[Ends, Ends]:
        """Our ends and the command's ends of its stdin, stdout and stderr."""
        fds: list[int] = []
        try:
            for _ in range(3):
                fds += os.pipe()
        except OSError as error:
            for fd in fds:
                os.close(fd)
            why = f"no more open files: {error.strerror}; raise `ulimit -n`"
            raise self._name(ExecFailed(why, operation="exec")) from error
        stdin, to_stdin, from_stdout, stdout, from_stderr, stderr = fds
        return (to_stdin, from_stdout, from_stderr), (stdin, stdout, stderr)

    def _encoded(self, command: Command, cwd: Path) -> tuple[list[bytes], bytes, dict[bytes, bytes]]:
        argv = command.argv
        if argv[:2] == ("/bin/sh", "-c"):
            argv = (self.provider.options.shell, *argv[1:])
        try:
            env = {os.fsencode(key): os.fsencode(value) for key, value in command.env.items()}
            return [os.fsencode(word) for word in argv], os.fsencode(command.cwd or cwd), env
        except UnicodeEncodeError as error:
            raise self._name(ExecFailed(f"cannot be an argument or a variable: {error}", operation="exec")) from error

    def _name(self, error: ProviderError) -> ProviderError:
        error.sandbox, error.provider = self.ref.id, self.provider.context.name
        return error

    async def upload(self, files: Sequence[Upload]) -> None:
        """As the contract says; a copy on this machine."""
        await self._transfer("upload", lambda stop: copy_in(files, stop))

    async def download(self, files: Sequence[Download]) -> None:
        """As the contract says; a copy on this machine."""
        await self._transfer("download", lambda stop: copy_out(files, stop))

    async def _transfer(self, operation: str, work: Callable[[threading.Event], None]) -> None:
        if self._made is None:
            return await in_thread(work)
        gone = self._made.link.gone
        failure: ProviderError | None = None
        try:
            if not gone.done():
                await in_thread(work)
        except ProviderError as error:
            failure = error
        finally:
            if gone.done():  # the copying may have made the directory again, behind the back of whoever removed it
                await asyncio.to_thread(remove_directory, self._made.directory)
        if gone.done():
            raise self._name(self._made.link.dead(operation)) from failure
        if failure is not None:
            raise self._name(failure)

    async def probe(self) -> Liveness:
        """As the contract says: known at once for what this provider object made, else from the process table."""
        return (await self.provider.probe_many([self.ref]))[self.ref]

    async def wait_dead(self) -> Liveness:
        """As the contract says: pushed for what this provider object made, else polled."""
        if self._made is None:
            return await super().wait_dead()
        return await asyncio.shield(self._made.link.gone)

    async def terminate(self) -> None:
        """As the contract says."""
        for error in (await self.provider.terminate_many([self.ref])).values():
            raise error
