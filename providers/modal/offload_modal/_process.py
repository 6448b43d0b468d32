"""A command in a sandbox at Modal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from typing_extensions import override

from offload_core.abc import Command, Exit, Sandbox
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead
from offload_core.kit import ShellProcess, cancelled, naming, race

from ._backend import ModalBackend
from ._liveness import Death

_AT_ONCE = 1 << 20
_CLOSE_SECS = 10.0


class ModalProcess(ShellProcess):
    """A command that runs. Besides its streams, one task observes its end.

    The SDK waits for a command's end without any limit, and its streams can end cleanly though the worker is gone. So
    the worker is asked about the command every few seconds. While it does not answer, a probe of the sandbox finds out
    nothing, and so the core gives the sandbox up after `lost_after_secs`, whether or not Modal ever announces a death.
    For those who do not probe, the connection is lost after twice that time.

    Args:
        inner: what the SDK has of it.

    Attributes:
        death: of the sandbox.
        trouble: what was lost of the output on its way.
        lost: done when its end cannot be observed any more.
    """

    def __init__(self, sandbox: Sandbox, command: Command, inner: Any, death: Death, backend: ModalBackend) -> None:
        super().__init__(sandbox, command)
        self.death = death
        self.tasks = backend.tasks
        self._inner = inner
        self._pulse_secs = backend.tuning.pulse_secs
        self._turn = asyncio.Lock()
        self._closed = False
        self.trouble: ProviderError | None = None
        self.lost: asyncio.Future[None] = asyncio.Future()
        self._ended = self.tasks.start(self._observe(), f"end of a command in {sandbox.ref.id}")
        self.stdout = OutputStream(self, inner.stdout)
        self.stderr = OutputStream(self, inner.stderr)

    @override
    async def write(self, data: bytes) -> None:
        """At most 1 MiB is on its way."""
        with naming("write", self.sandbox):
            async with self._turn:
                for start in range(0, len(data), _AT_ONCE):
                    await self._send(data[start : start + _AT_ONCE])

    async def _send(self, data: bytes) -> None:
        try:
            await self.death.race(self._drained(data), "write")
        except (SandboxDead, ConnectionLost):
            raise
        except ProviderError as error:
            raise ConnectionLost(f"it does not take its standard input: {error.message}") from error

    async def _drained(self, data: bytes) -> None:
        if self._closed or self._ended.done():
            raise ConnectionLost("it reads no more")
        self._inner.stdin.write(data)
        draining = await race(self._inner.stdin.drain.aio(), self._ended)
        if draining is None:
            raise ConnectionLost("it has ended")
        draining.result()

    @override
    async def close_stdin(self) -> None:
        async with self._turn:
            if self._closed or self._ended.done():
                return
            self._closed = True
            self._inner.stdin.write_eof()
            with contextlib.suppress(ProviderError):  # what it means for the process, its end tells
                await self.death.race(self._inner.stdin.drain.aio(), "close_stdin", _CLOSE_SECS)

    @override
    async def wait(self) -> Exit:
        """Also raises if a part of the output was lost on its way."""
        outcome = await asyncio.shield(self._ended)
        error = outcome if isinstance(outcome, ProviderError) else self.trouble
        if error is not None:
            with naming("wait", self.sandbox):
                raise error
        assert isinstance(outcome, Exit)
        return outcome

    async def _observe(self) -> Exit | ProviderError:
        try:
            code = await self.death.race(self._code(), "exec")
        except ProviderError as error:
            self.lost.set_result(None)
            return error
        return Exit(code=code) if code >= 0 else Exit(reason="Modal does not tell")

    async def _code(self) -> int:
        """The exit code, as soon as the worker tells it, on whichever way."""
        pulse = asyncio.ensure_future(self._pulse())
        try:
            told = await race(self._inner.wait.aio(), pulse)
            return int((pulse if told is None else told).result())
        finally:
            await cancelled(pulse)

    async def _pulse(self) -> int:
        settings = self.sandbox.context.liveness
        loop = asyncio.get_running_loop()
        silent_since: float | None = None
        while True:
            await asyncio.sleep(self._pulse_secs)
            try:
                async with asyncio.timeout(settings.timeout_secs):
                    code = await self._inner.poll.aio()
            except Exception as error:
                silent_since = silent_since or loop.time()
                self.death.silence = f"its worker does not answer: {error!r}"
                if loop.time() - silent_since >= 2 * settings.lost_after_secs:
                    raise ConnectionLost(self.death.silence) from error
            else:
                silent_since = None
                self.death.silence = ""
                if code is not None:
                    return int(code)


class OutputStream(AsyncIterator[bytes]):
    """One of a command's streams. Nothing is asked for before somebody reads; a cancelled read loses nothing.

    It ends with the sandbox, or with the connection; `wait` then tells.
    """

    def __init__(self, process: ModalProcess, stream: Any) -> None:
        self._process = process
        self._stream = stream
        self._chunks: AsyncIterator[bytes] | None = None
        self._next: asyncio.Task[bytes] | None = None
        self._over = False

    @override
    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        if self._next is None:
            self._next = self._process.tasks.start(self._read(), "output of a command")
        waited: set[asyncio.Future[Any]] = {self._next, self._process.lost, self._process.death.watched()}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._next.done():
            await cancelled(self._next)
        reading, self._next = self._next, None
        if reading.done() and not reading.cancelled():
            error = reading.exception()
            if error is None and reading.result():
                return reading.result()
            if error is not None:
                await self._broken(error)
        self._over = True
        raise StopAsyncIteration

    async def _read(self) -> bytes:
        if self._chunks is None:
            self._chunks = aiter(self._stream)
        return await anext(self._chunks, b"")

    async def _broken(self, error: BaseException) -> None:
        death = self._process.death
        meaning = await death.explained(error, "exec")
        if isinstance(meaning, ConnectionLost) and not death.silence:
            meaning = await death.settled(meaning)
        if self._process.trouble is None:
            meaning.__cause__ = error
            self._process.trouble = meaning
