"""A command in a container, over the connection that the engine attaches to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from typing import IO, Any

from docker import APIClient
from typing_extensions import override

from offload_core.abc import AsyncResource, Command, Exit, Sandbox
from offload_core.errors import ConnectionLost, NotFound, ProviderError, SandboxDead
from offload_core.kit import BackgroundTasks, ShellProcess, check_alive, naming

from ._death import KILLED, no_memory
from ._engine import Engine
from ._threads import in_thread, tell

_HELD_BYTES = 1 << 20
_HEADER = struct.Struct(">BxxxL")  # which stream, and how many bytes follow: Docker's format for streams without a tty
_STDOUT, _STDERR = 1, 2
_RECHECK_SECS = 1.0
_SHORTAGE_SECS = 0.5
_ASK_TIMES = 3
_OF_THE_DYING = (126, 127, KILLED)
"""With these a command also ends whose container dies; the engine tells of that a little later."""


class Attached:
    """The connection that carries a command's three streams. Made in a thread: it blocks."""

    def __init__(self, client: APIClient, exec_id: str) -> None:
        raw: Any = client.exec_start(exec_id, socket=True)
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)
        # What arrived together with the answer's headers is in the buffer of the response, and nowhere else.
        self._response = getattr(raw, "_response", None)
        inner = getattr(getattr(self._response, "raw", None), "_fp", None)
        self._reader: IO[bytes] = inner.fp if inner is not None else raw.makefile("rb")

    def read(self) -> tuple[int, bytes] | None:
        """The next piece of a stream; None at the end."""
        header = self._reader.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        stream, size = _HEADER.unpack(header)
        return stream, self._reader.read(size)

    def write(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def close_stdin(self) -> None:
        """Say that no more will be sent. TLS as Python has it cannot do that without giving up reading, too."""
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """End both directions, also for a thread that reads."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give everything back, once nobody reads any more."""
        self.shut()
        if self._response is not None:
            self._response.close()
        else:
            self._reader.close()
        self._socket.close()


class Stream(AsyncIterator[bytes]):
    """One of a command's outputs. A thread puts in, and waits while 1 MiB is held; the loop takes out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held = bytearray()
        self._ended = self._unwanted = False
        self._room = threading.Condition()
        self._news = asyncio.Event()

    def put(self, data: bytes) -> None:
        """From the thread: one more piece, as soon as there is room for it."""
        with self._room:
            self._room.wait_for(lambda: len(self._held) < _HELD_BYTES or self._unwanted)
            if len(self._held) < _HELD_BYTES and not self._ended:
                self._held += data
        tell(self._loop, self._news.set)

    def drop(self) -> None:
        """From the loop: do not wait for room any more, drop what there is none for."""
        with self._room:
            self._unwanted = True
            self._room.notify()

    def end(self) -> None:
        """From the loop: there will be no more."""
        self._ended = True
        self.drop()
        self._news.set()

    @override
    async def __anext__(self) -> bytes:
        while True:
            with self._room:
                if self._held:
                    data = bytes(self._held)
                    self._held.clear()
                    self._room.notify()
                    return data
                if self._ended:
                    raise StopAsyncIteration
                self._news.clear()
            await self._news.wait()


class DockerProcess(ShellProcess, AsyncResource):
    """A command that was started in a container.

    Its end is told by the engine's event stream. The end of its output is only an occasion to ask: the engine ends it
    also when the container dies.
    """

    stdout: Stream
    stderr: Stream

    def __init__(self, sandbox: Sandbox, command: Command, engine: Engine, exec_id: str, attached: Attached) -> None:
        super().__init__(sandbox, command)
        loop = asyncio.get_running_loop()
        self.stdout, self.stderr = Stream(loop), Stream(loop)
        self._exec_id = exec_id
        self._attached = attached
        self._engine = engine
        self._events = engine.events
        self._since = loop.time()
        self._turn = asyncio.Lock()
        self._closed = self._killed = False
        self._reading = asyncio.ensure_future(in_thread(self._read))
        self._reading.add_done_callback(lambda _: self._output_ended())
        self._ended = BackgroundTasks().start(self._end(), name=f"end of exec {exec_id[:12]}")
        for half in (self._reading, self._ended):
            half.add_done_callback(self._close)
        self._engine.processes.add(self)

    def _read(self) -> None:
        streams = {_STDOUT: self.stdout, _STDERR: self.stderr}
        with contextlib.suppress(OSError, ValueError):  # broken off: what that means is found out by asking
            while (piece := self._attached.read()) is not None:
                number, data = piece
                if number in streams:
                    streams[number].put(data)

    def _output_ended(self) -> None:
        self.stdout.end()
        self.stderr.end()

    def _close(self, half: asyncio.Future[Any]) -> None:
        if self._reading.done() and self._ended.done():
            self._attached.close()
            self._engine.processes.discard(self)

    @override
    async def write(self, data: bytes) -> None:
        with naming("write", self.sandbox):
            async with self._turn:
                try:
                    if self._closed or self._ended.done():
                        raise BrokenPipeError
                    await in_thread(lambda: self._attached.write(data))
                except OSError as error:
                    check_alive(self._events.death(self.sandbox.ref.id))
                    raise ConnectionLost("its standard input is closed") from error

    @override
    async def close_stdin(self) -> None:
        async with self._turn:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(OSError):
                    await in_thread(self._attached.close_stdin)

    @override
    async def wait(self) -> Exit:
        with naming("wait", self.sandbox):
            return await asyncio.shield(self._ended)

    @override
    async def kill(self) -> None:
        self._killed = not self._ended.done()
        for stream in (self.stdout, self.stderr):
            stream.drop()  # an engine that cannot pass output on tells of no end in that container
        await super().kill()

    @override
    async def aclose(self) -> None:
        """Give up the connection. The command is not touched."""
        self._attached.shut()
        self._output_ended()
        self._ended.cancel()
        await asyncio.wait({self._ended, self._reading})

    async def _end(self) -> Exit:
        exit = self._events.exit(self._exec_id)
        death = self._events.death(self.sandbox.ref.id)
        try:
            told: set[asyncio.Future[Any]] = {exit, death}
            await asyncio.wait({*told, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            failures = 0
            while not exit.done():
                try:
                    code = await self._exit_code()
                except SandboxDead:
                    raise
                except ProviderError as error:
                    failures += 1
                    if failures == _ASK_TIMES:
                        raise ConnectionLost(f"its end was not seen: {error.message}") from error
                else:
                    if code is not None:
                        return await self._exit(code)
                await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED, timeout=_RECHECK_SECS)
            return await self._exit(exit.result())
        finally:
            self._events.forget(self._exec_id)

    async def _exit_code(self) -> int | None:
        """Ask the engine for it; None while the command runs."""
        id = self.sandbox.ref.id
        check_alive(self._events.death(id))
        try:
            told = await self._engine.call(lambda client: client.exec_inspect(self._exec_id))
        except NotFound as error:
            await self.sandbox.probe()
            check_alive(self._events.death(id))
            raise ConnectionLost(f"the engine has forgotten the command: {error.message}") from error
        return None if told["Running"] else told["ExitCode"]

    async def _exit(self, code: int) -> Exit:
        if code not in _OF_THE_DYING or self._killed:
            return Exit(code)
        id = self.sandbox.ref.id
        short = asyncio.ensure_future(self._events.ran_short(id, self._since, _SHORTAGE_SECS))
        try:
            await self.sandbox.probe()
            either: set[asyncio.Future[Any]] = {self._events.death(id), short}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            short.cancel()
        check_alive(self._events.death(id))
        return Exit(code, reason=no_memory(self._events.memory_gb) if code == KILLED and short.result() else "")
