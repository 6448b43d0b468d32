"""What is known of a sandbox's death: found out once, told to everybody, in words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from modal import Sandbox as ModalHandle

from offload_core.abc import Liveness
from offload_core.errors import ConnectionLost, NotFound, OperationTimedOut, ProviderError, SandboxDead
from offload_core.kit import BackgroundTasks, check_alive, race

from ._errors import translated

T = TypeVar("T")

_LOOK_SECS = 5.0

_TIMEOUT = "GENERIC_STATUS_TIMEOUT"
_OUT_OF_MEMORY = {
    "GENERIC_STATUS_KERNEL_OOM_KILL": "killed: out of memory",
    "GENERIC_STATUS_MEMORY_MANAGER_EVICTION": "evicted: out of memory",
    "GENERIC_STATUS_MEMORY_THRASHING_EVICTION": "evicted: it was short of memory and did nothing but swap",
}
_REASONS = {
    **_OUT_OF_MEMORY,
    _TIMEOUT: "its lifetime was over",
    "GENERIC_STATUS_TERMINATED": "terminated",
    "GENERIC_STATUS_IDLE_TIMEOUT": "it was idle for too long",
    "GENERIC_STATUS_INTERNAL_FAILURE": "an internal failure at Modal",
    "GENERIC_STATUS_INIT_FAILURE": "it could not be started",
    "GENERIC_STATUS_SUCCESS": "its main process ended",
    "GENERIC_STATUS_FAILURE": "its main process failed",
}
_CODES = {124: _REASONS[_TIMEOUT], 137: "terminated"}  # what the SDK makes of these two


def unknown_to_modal() -> Liveness:
    """The sandbox is not there, and never was or no more."""
    return Liveness.dead("Modal does not know it")


def state_of(handle: ModalHandle) -> Liveness:
    """What a handle was told the last time it asked."""
    code = handle.returncode
    return Liveness.alive() if code is None else dead(handle, code)


def dead(handle: ModalHandle, code: int | None) -> Liveness:
    """The death of a sandbox that has ended with this code, in words as good as they are to be had."""
    status, details = _result(handle)
    reason = _REASONS.get(status) or _CODES.get(code or 0) or ""
    if details:
        reason = f"{reason}: {details}" if reason else details
    if code is not None and status not in (_TIMEOUT, "GENERIC_STATUS_TERMINATED"):
        reason = f"{reason} (exit code {code})" if reason else f"exit code {code}"
    return Liveness.dead(reason or "it has ended", exit_code=code, out_of_memory=status in _OUT_OF_MEMORY)


def _result(handle: ModalHandle) -> tuple[str, str]:
    """The name of the status, and what the backend adds. Private to the SDK: empty wherever it is not there."""
    try:
        from modal._utils import async_utils

        inner: Any = getattr(async_utils.synchronizer, "_translate_in", lambda handle: None)(handle)
        result: Any = getattr(getattr(inner, "_impl", inner), "result", None) or getattr(inner, "_result", None)
        number = result.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[result.status]
        return str(number.name), str(result.exception).strip().splitlines()[0] if result.exception.strip() else ""
    except Exception:  # only words are lost
        return "", ""


class Death:
    """The death of one sandbox: `gone` gets the reason as soon as it is known, from whatever source.

    Args:
        tasks: where the watch runs.
        watch: returns when it has died; it runs from the first `watched` until then.
        look: asks once.
        patience: how many seconds a worker that lost the sandbox waits for Modal's word on it.

    Attributes:
        silence: why nothing is known though Modal calls it alive: its worker does not answer, or knows it no more.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        watch: Callable[[], Coroutine[Any, Any, Liveness]],
        look: Callable[[], Coroutine[Any, Any, Liveness]],
        patience: float,
    ) -> None:
        self.gone: asyncio.Future[Liveness] = asyncio.Future()
        self._tasks = tasks
        self._watch = watch
        self._look = look
        self._patience = patience
        self.silence = ""
        self._watching: asyncio.Task[None] | None = None

    def watched(self) -> asyncio.Future[Liveness]:
        """`gone`, with somebody who looks out for it."""
        if self._watching is None and not self.gone.done():
            self._watching = self._tasks.start(self._run(), "death watch")
        return self.gone

    async def _run(self) -> None:
        self.heard(await self._watch())

    def heard(self, answer: Liveness) -> None:
        """Take note of an answer. What is dead stays dead."""
        if answer.is_dead and not self.gone.done():
            self.gone.set_result(answer)
            if self._watching is not None and self._watching is not asyncio.current_task():
                self._watching.cancel()

    def error(self) -> SandboxDead:
        """For an operation that came too late. Only when `gone` is done."""
        return SandboxDead(self.gone.result().reason)

    async def race(self, call: Coroutine[Any, Any, T], operation: str, within: float | None = None) -> T:
        """Make a call of the SDK on the sandbox; it ends when the sandbox dies, and after so many seconds.

        Raises:
            SandboxDead: the sandbox died before the call ended, or its error is explained by a death.
            OperationTimedOut: it took longer.
            ProviderError: anything the SDK raised, translated.
        """
        task = await race(call, self.watched(), within=within)
        if task is None:
            check_alive(self.gone)
            raise OperationTimedOut(f"no answer in {within:g} s")
        if task.cancelled():
            raise ConnectionLost("the SDK gave it up")
        error = task.exception()
        if error is None:
            return task.result()
        meaning = await self.explained(error, operation)
        if meaning is error:
            raise meaning
        raise meaning from error

    async def explained(self, error: BaseException, operation: str) -> ProviderError:
        """What an error of the SDK means: first of all, whether the sandbox is dead."""
        if not self.gone.done():
            with contextlib.suppress(Exception):  # nothing was learned
                async with asyncio.timeout(_LOOK_SECS):
                    self.heard(await self._look())
        if self.gone.done():
            return self.error()
        meaning = translated(error, operation)
        if not isinstance(meaning, NotFound):
            return meaning
        return await self.settled(ConnectionLost(f"its worker does not know it: {meaning.message}"))

    async def settled(self, error: ProviderError) -> ProviderError:
        """What an error of the worker turns out to be: a death, if Modal announces one soon.

        Until then the sandbox is silent, so whoever probes it learns nothing, and gives it up after a while.
        """
        self.silence = error.message
        await asyncio.wait({self.watched()}, timeout=self._patience)
        return self.error() if self.gone.done() else error

    def seen(self, answer: Liveness) -> Liveness:
        """What Modal's answer is worth: alive only if its worker is not silent."""
        self.heard(answer)
        if self.gone.done():
            return self.gone.result()
        return Liveness.unknown(f"Modal calls it alive, but {self.silence}") if self.silence else answer
