"""A sandbox that is a container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from docker import APIClient

from offload_core.abc import Command, Liveness, Sandbox, SandboxRef
from offload_core.errors import ConnectionLost, ExecFailed, NotFound, ProviderError, SandboxDead

from ._death import inspected
from ._engine import Engine
from ._errors import removing
from ._process import Attached, DockerProcess

if TYPE_CHECKING:
    from ._provider import DockerProvider


class DockerSandbox(Sandbox):
    """A container with an init process. Files travel as the contract's default has it: one archive through `tar`."""

    provider: DockerProvider

    def __init__(self, provider: DockerProvider, ref: SandboxRef, engine: Engine) -> None:
        super().__init__(provider, ref)
        self.engine = engine

    @property
    def memory_gb(self) -> float | None:
        """The limit of its memory, in GiB."""
        return self.provider.options.memory_gb

    async def exec(self, command: Command) -> DockerProcess:
        """As the contract says."""
        self._check_alive("exec")
        starting = asyncio.ensure_future(self._exec(command))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self.engine.finish(_abandon(starting))
            raise
        except ProviderError as error:
            error.operation, error.sandbox, error.provider = "exec", self.ref.id, self.provider.context.name
            raise

    async def _exec(self, command: Command) -> DockerProcess:
        await self.engine.events.connected()
        try:
            "\0".join([*command.argv, *command.env, *command.env.values()]).encode()
        except UnicodeEncodeError as error:
            raise ExecFailed(f"the engine takes no bytes that are not UTF-8: {error}") from error

        def start(client: APIClient) -> tuple[str, Attached]:
            exec_id: str = client.exec_create(
                self.ref.id,
                list(command.argv),
                stdin=True,
                environment=dict(command.env),
                workdir=str(command.cwd) if command.cwd is not None else None,
            )["Id"]
            return exec_id, Attached(client, exec_id)

        try:
            exec_id, attached = await self.engine.call(start, otherwise=ExecFailed)
        except NotFound as error:
            raise ExecFailed(error.message) from error
        return DockerProcess(self, command, exec_id, attached)

    async def exit_code_of(self, exec_id: str) -> int | None:
        """The exit code of a command that was started here; None while it runs.

        Raises:
            SandboxDead: the engine does not know it any more.
        """
        self._check_alive("wait")
        try:
            told = await self.engine.call(lambda client: client.exec_inspect(exec_id))
        except NotFound as error:
            liveness = await self.probe()
            if liveness.is_dead:
                self._check_alive("wait")
            raise ConnectionLost(f"the engine has forgotten the command: {error.message}") from error
        return None if told["Running"] else told["ExitCode"]

    def _check_alive(self, operation: str) -> None:
        death = self.engine.events.death(self.ref.id)
        if death.done():
            raise SandboxDead(
                death.result().reason, operation=operation, sandbox=self.ref.id, provider=self.provider.context.name
            )

    async def probe(self) -> Liveness:
        """As the contract says: what is known of its death, else an inspection."""
        events = self.engine.events
        death = events.death(self.ref.id)
        if death.done():
            return death.result()
        timeout = self.provider.context.liveness.timeout_secs
        try:
            found = await self.engine.call(lambda client: client.inspect_container(self.ref.id), timeout=timeout)
        except (NotFound, SandboxDead):
            return events.died(self.ref.id, Liveness.dead("removed"))
        except ProviderError as error:
            return Liveness.unknown(error.message)
        answer = inspected(found)
        return events.died(self.ref.id, answer) if answer.is_dead else answer

    async def wait_dead(self) -> Liveness:
        """As the contract says: by the engine's event stream, after one probe for what happened before it."""
        events = self.engine.events
        dropped = await events.connected()
        answer = await self.probe()
        if answer.is_dead:
            return answer
        if answer.is_unknown:
            raise ConnectionLost(answer.reason, operation="wait_dead", sandbox=self.ref.id)
        return await events.until(events.death(self.ref.id), dropped)

    async def terminate(self) -> None:
        """As the contract says."""
        try:
            await self.engine.call(lambda client: client.remove_container(self.ref.id, v=True, force=True))
        except (NotFound, SandboxDead):
            pass
        except ProviderError as error:
            if not removing(error):
                error.operation, error.sandbox, error.provider = "terminate", self.ref.id, self.provider.context.name
                raise
        self.engine.events.died(self.ref.id, Liveness.dead("terminated"))


async def _abandon(starting: asyncio.Future[DockerProcess]) -> None:
    """Kill what was started although nobody wants it any more."""
    try:
        process = await starting
    except ProviderError:
        return
    await process.abandon()
