"""The command routers: what a sandbox's own address answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as pb

from ._execution import Execution
from ._sandboxes import Sandbox
from ._secrets import Secrets

_STDERR = pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR


class Router:
    """Runs commands in the sandboxes. One object serves all; each sandbox has a gate of its own before it."""

    def __init__(self, socket: str, secrets: Secrets) -> None:
        """`socket`: the Unix socket that it is served on."""
        self.socket = socket
        self._secrets = secrets
        self._sandboxes: dict[str, Sandbox] = {}

    def add(self, sandbox: Sandbox) -> None:
        """Serve it under its task id."""
        self._sandboxes[sandbox.task_id] = sandbox

    async def TaskExecStart(self, request: pb.TaskExecStartRequest) -> pb.TaskExecStartResponse:
        """Start a command; a repeated exec id starts nothing."""
        sandbox = self._sandbox(request.task_id)
        if request.exec_id not in sandbox.executions:
            if sandbox.died_at is not None:
                raise GRPCError(Status.NOT_FOUND, f"task {request.task_id} is dead")
            env = {**sandbox.definition.env, **self._secrets.environment(request.secret_sources), **request.env}
            workdir = request.workdir or sandbox.definition.workdir
            execution = sandbox.jail.run(list(request.command_args), env, workdir, request.timeout_secs or None)
            sandbox.executions[request.exec_id] = execution
        return pb.TaskExecStartResponse()

    async def TaskExecStdioRead(
        self, request: pb.TaskExecStdioReadRequest
    ) -> AsyncIterator[pb.TaskExecStdioReadResponse]:
        """What the command writes from the offset on, until it writes no more."""
        execution = self._execution(request.task_id, request.exec_id)
        output = execution.stderr if request.file_descriptor == _STDERR else execution.stdout
        offset = request.offset
        while chunk := await output.read(offset):
            offset += len(chunk)
            yield pb.TaskExecStdioReadResponse(data=chunk)
        self._sandbox(request.task_id)

    async def TaskExecWait(self, request: pb.TaskExecWaitRequest) -> pb.TaskExecWaitResponse:
        """The command's end."""
        code = await self._execution(request.task_id, request.exec_id).wait()
        self._sandbox(request.task_id)
        return pb.TaskExecWaitResponse(code=code) if code >= 0 else pb.TaskExecWaitResponse(signal=-code)

    async def TaskExecPoll(self, request: pb.TaskExecPollRequest) -> pb.TaskExecPollResponse:
        """The command's end, or nothing while it runs."""
        code = self._execution(request.task_id, request.exec_id).returncode
        if code is None:
            return pb.TaskExecPollResponse()
        return pb.TaskExecPollResponse(code=code) if code >= 0 else pb.TaskExecPollResponse(signal=-code)

    async def TaskExecStdinWrite(self, request: pb.TaskExecStdinWriteRequest) -> pb.TaskExecStdinWriteResponse:
        """Pass bytes to the command; answered when the command's pipe has taken them."""
        execution = self._execution(request.task_id, request.exec_id)
        await execution.stdin.write(request.offset, request.data, eof=request.eof)
        return pb.TaskExecStdinWriteResponse()

    async def TaskExecStdinStatus(self, request: pb.TaskExecStdinStatusRequest) -> pb.TaskExecStdinStatusResponse:
        """How much of its input the command was passed."""
        stdin = self._execution(request.task_id, request.exec_id).stdin
        return pb.TaskExecStdinStatusResponse(num_bytes_written=stdin.written, closed=stdin.closed)

    async def TaskExecStdinWriteStream(
        self, first: pb.TaskExecStdinWriteStreamRequest, rest: AsyncIterator[pb.TaskExecStdinWriteStreamRequest]
    ) -> pb.TaskExecStdinWriteStreamResponse:
        """Pass a whole input to the command."""
        stdin = self._execution(first.start.task_id, first.start.exec_id).stdin
        offset = first.start.offset
        async for part in rest:
            await stdin.write(offset, part.data, eof=part.HasField("end"))
            offset += len(part.data)
        return pb.TaskExecStdinWriteStreamResponse()

    def _sandbox(self, task_id: str) -> Sandbox:
        sandbox = self._sandboxes.get(task_id)
        if sandbox is None or sandbox.router == "gone":
            raise GRPCError(Status.NOT_FOUND, f"no task {task_id}")
        return sandbox

    def _execution(self, task_id: str, exec_id: str) -> Execution:
        execution = self._sandbox(task_id).executions.get(exec_id)
        if execution is None:
            raise GRPCError(Status.NOT_FOUND, f"no exec {exec_id}")
        return execution
