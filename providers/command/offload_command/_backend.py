"""The user's commands, and how each of them is run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from attrs import frozen

from offload_core.abc import Command, Completed, Context, Liveness
from offload_core.errors import (
    ConnectionLost,
    CreateFailed,
    DownloadFailed,
    ExecFailed,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
    UploadFailed,
)
from offload_core.kit import check_alive

from ._client import Client, Clients, Died, last_words
from ._input_check import InputCheck, Patience
from ._options import CommandOptions
from ._state import SandboxState
from ._template import fill, remote_line


@frozen
class Step:
    """A command of the configuration: its key, and what its failure is."""

    key: str
    failure: type[ProviderError]


PREPARE = Step("prepare_command", PrepareFailed)
CREATE = Step("create_command", CreateFailed)
UPLOAD = Step("upload_command", UploadFailed)
DOWNLOAD = Step("download_command", DownloadFailed)
LIST = Step("list_command", ConnectionLost)
DESTROY = Step("destroy_command", ProviderError)


class CommandBackend:
    """Runs the commands of the configuration on this machine; what they do is theirs to know.

    Attributes:
        input: knows whether `exec_command` hands on standard input.
    """

    def __init__(self, options: CommandOptions, context: Context, patience: Patience) -> None:
        self.options = options
        self.context = context
        self.input = InputCheck(context.warn, patience)

    @cached_property
    def working_dir(self) -> Path:
        """Where the commands run on this machine."""
        return Path(self.context.project_dir, self.options.working_dir or "").resolve()

    @cached_property
    def clients(self) -> Clients:
        """What runs on this machine."""
        return Clients(self.working_dir)

    async def run(
        self,
        step: Step,
        line: str,
        state: SandboxState | None = None,
        *,
        env: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> Completed:
        """Run one of the commands to its end.

        Args:
            state: of the sandbox that it is on.
            env, progress: as for `Clients.run`.

        Raises:
            SandboxDead: it said so.
            OperationTimedOut: it took longer than `timeout_secs`.
            ProviderError: of the step's own class; holds what the command wrote.
        """
        try:
            done = await self.clients.run(line, self.options.timeout_secs, env, progress)
        except Died as died:
            if state is not None:
                state.said_dead(str(died))
            raise SandboxDead(str(died)) from None
        except TimeoutError as late:
            why = f"`{step.key}` did not end in {self.options.timeout_secs:g} s"
            raise OperationTimedOut(f"{why}: {late}" if str(late) else why) from None
        except ExecFailed as failed:
            raise ProviderError(f"cannot start `{step.key}`: {failed.__cause__}") from failed
        if not done.exit.ok:
            if state is not None:
                state.doubted = True
            said = last_words(done.stderr) or last_words(done.stdout)
            raise step.failure(f"`{step.key}`: {done.exit}{': ' if said else ''}{said}")
        return done

    async def start(self, state: SandboxState, command: Command, *, stdin: bool) -> Client:
        """Start a command in a sandbox, by `exec_command`.

        Raises:
            ExecFailed: `exec_command` cannot be started.
            SandboxDead: the sandbox is dead.

        Cancelled, it is killed on this machine.
        """
        check_alive(state.dead)
        values = {"sandbox_id": state.ref.id, "command": remote_line(command, state.cwd, state.env)}
        try:
            client = await self.clients.start(fill(self.options.exec_command, values), stdin=stdin)
        except ExecFailed as failed:
            raise ExecFailed(f"cannot start `exec_command`: {failed.__cause__}") from failed
        state.watch(client)
        if state.dead.done():  # it died while this started
            await self.clients.tasks.finish(client.kill())
            check_alive(state.dead)
        return client

    async def destroy(self, state: SandboxState) -> None:
        """End a sandbox by `destroy_command`. Idempotent; what said that it is dead is left alone.

        Raises:
            ProviderError: it may still be there.
        """
        async with state.ending:
            await state.kill_clients()  # first of all what could still start something in it
            if not state.silent and not state.destroyed:
                with contextlib.suppress(SandboxDead):
                    await self.run(DESTROY, fill(self.options.destroy_command, {"sandbox_id": state.ref.id}), state)
                state.destroyed = True
            state.made = False
            state.die("it was terminated")
            await state.kill_clients()

    async def probe(self, state: SandboxState, probe_command: str) -> Liveness:
        """Ask by `probe_command`; the caller bounds it."""
        try:
            done = await self.clients.run(fill(probe_command, {"sandbox_id": state.ref.id}))
        except Died as died:
            state.said_dead(str(died))
        if state.dead.done():
            return state.dead.result()
        if done.exit.ok:
            return Liveness.alive()
        return Liveness.unknown(f"`probe_command`: {done.exit}: {last_words(done.stderr)}")
