"""A sandbox that is a container."""

from __future__ import annotations

from docker import APIClient
from typing_extensions import override

from offload_core.abc import Command, Context, Liveness, SandboxRef
from offload_core.errors import ConnectionLost, ExecFailed, NotFound, ProviderError, SandboxDead
from offload_core.kit import ShellSandbox, check_alive, naming

from ._death import inspected
from ._engine import Engine
from ._errors import removing
from ._process import Attached, DockerProcess


class DockerSandbox(ShellSandbox):
    """A container with an init process."""

    def __init__(self, ref: SandboxRef, context: Context, engine: Engine) -> None:
        super().__init__(ref, context)
        self.engine = engine

    @override
    async def exec(self, command: Command) -> DockerProcess:
        with naming("exec", self):
            check_alive(self.engine.events.death(self.ref.id))
            return await self.engine.tasks.make(self._exec(command), DockerProcess.abandon)

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
        return DockerProcess(self, command, self.engine, exec_id, attached)

    @override
    async def probe(self) -> Liveness:
        """What is known of its death, else an inspection."""
        events = self.engine.events
        death = events.death(self.ref.id)
        if death.done():
            return death.result()
        timeout = self.context.liveness.timeout_secs
        try:
            found = await self.engine.call(lambda client: client.inspect_container(self.ref.id), timeout=timeout)
        except (NotFound, SandboxDead):
            return events.died(self.ref.id, Liveness.dead("removed"))
        except ProviderError as error:
            return Liveness.unknown(error.message)
        answer = inspected(found)
        return events.died(self.ref.id, answer) if answer.is_dead else answer

    @override
    async def wait_dead(self) -> Liveness:
        """By the engine's event stream, after one probe for what happened before it."""
        events = self.engine.events
        dropped = await events.connected()
        answer = await self.probe()
        if answer.is_dead:
            return answer
        if answer.is_unknown:
            raise ConnectionLost(answer.reason, operation="wait_dead", sandbox=self.ref.id)
        return await events.wait_dead(self.ref.id, dropped)

    @override
    async def terminate(self) -> None:
        with naming("terminate", self):
            try:
                await self.engine.call(lambda client: client.remove_container(self.ref.id, v=True, force=True))
            except ProviderError as error:
                if not (isinstance(error, (NotFound, SandboxDead)) or removing(error)):
                    raise
        self.engine.events.died(self.ref.id, Liveness.dead("terminated"))
