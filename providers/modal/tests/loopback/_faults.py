"""What goes wrong on command in the control plane and the routers, and what was called."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import attrs
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2


@attrs.frozen
class Call:
    """One call that reached the server."""

    method: str
    """The gRPC method, or `connect` for a connection to a command router."""
    sandbox_id: str
    """Empty when the call is about no single sandbox."""
    at: float
    """On the clock of time.monotonic()."""


@attrs.define
class _Failure:
    status: Status
    message: str
    times: int | None
    retry_after: float | None


class Faults:
    """Asked before each call: records it, delays it, refuses it.

    `method` is a gRPC method's name such as `SandboxWaitV2`, or `*` for all of them.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._sandbox_of_task: dict[str, str] = {}
        self._delays: dict[str, float] = {}
        self._failures: dict[str, _Failure] = {}

    def know(self, task_id: str, sandbox_id: str) -> None:
        """Count calls about the task as calls about the sandbox."""
        self._sandbox_of_task[task_id] = sandbox_id

    def slow(self, method: str, secs: float) -> None:
        """Answer calls of `method` only after so many seconds; 0 ends it."""
        self._delays[method] = secs

    def fail(
        self,
        method: str,
        status: str,
        message: str = "",
        times: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Answer calls of `method` with a gRPC status such as `RESOURCE_EXHAUSTED`: the next `times`, or all.

        `retry_after`: seconds after which the client is told to try again. `OK` ends it.
        """
        self._failures[method] = _Failure(Status[status], message or f"{status} on command", times, retry_after)
        if status == "OK":
            del self._failures[method]

    def count(self, sandbox_id: str | None = None, since: float = 0.0) -> Counter[str]:
        """How many calls of each method arrived, about one sandbox or in all, from `since` on (time.monotonic())."""
        return Counter(call.method for call in self.calls if call.at >= since and sandbox_id in (None, call.sandbox_id))

    def connected(self, sandbox_id: str) -> None:
        """Record a connection to a sandbox's command router."""
        self.calls.append(Call("connect", sandbox_id, time.monotonic()))

    async def before(self, method: str, request: Message) -> None:
        """Record a call; wait or raise as was commanded."""
        self.calls.append(Call(method, self._subject(request), time.monotonic()))
        delay = self._delays.get(method, self._delays.get("*", 0.0))
        if delay:
            await asyncio.sleep(delay)
        failure = self._failures.get(method) or self._failures.get("*")
        if failure is None:
            return
        if failure.times is not None:
            if failure.times == 0:
                return
            failure.times -= 1
        details = None
        if failure.retry_after is not None:
            details = [api_pb2.RPCRetryPolicy(retry_after_secs=failure.retry_after)]
        raise GRPCError(failure.status, failure.message, details)

    def _subject(self, request: Message) -> str:
        sandbox_id: str = getattr(request, "sandbox_id", "")
        task_id: str = getattr(request, "task_id", "")
        if not task_id and hasattr(request, "start"):
            task_id = request.start.task_id
        return sandbox_id or self._sandbox_of_task.get(task_id, "")
