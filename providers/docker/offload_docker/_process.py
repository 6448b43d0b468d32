"""A command in a container, over the connection that the engine attaches to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import IO, TYPE_CHECKING, Any

from docker import APIClient

from offload_core.abc import Command, Exit, Process
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead

from ._death import KILLED, no_memory
from ._threads import in_thread, tell

if TYPE_CHECKING:
    from ._sandbox import DockerSandbox

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
        response = getattr(raw, "_response", None)
        self._reader: IO[bytes] = response.raw._fp.fp if response is not None else raw.makefile("rb")
        self._response = response

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
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = self._unwanted = False
        self._room = threading.Condition()
        self._news = asyncio.Event()

    def put(self, data: bytes) -> None:
        """From the thread: one more piece, as soon as there is room for it."""
        with self._room:
            self._room.wait_for(lambda: self._held < _HELD_BYTES or self._unwanted)
            if self._held < _HELD_BYTES and not self._ended:
                self._chunks.append(data)
                self._held += len(data)
        tell(self._loop, self._news.set)

    def drop(self) -> None:
        """From the loop: do not wait for room any more, drop what there is none for."""
        with self._room:
            self._unwanted = True
            self._room.notify()

    def end(self) -> None:
        """From the loop: there will be no more."""
        with self._room:
            self._ended = self._unwanted = True
            self._room.notify()
        self._news.set()

    async def __anext__(self) -> bytes:
        while True:
            with self._room:
                if self._chunks:
                    data = b"".join(self._chunks)
                    self._chunks.clear()
                    self._held = 0
                    self._room.notify()
                    return data
                if self._ended:
                    raise StopAsyncIteration
                self._news.clear()
            await self._news.wait()


class DockerProcess(Process):
    """A command that was started in a container.

    Its end is told by the engine's event stream. The end of its output is only an occasion to ask: the engine ends it
    also when the container dies.
    """

    sandbox: DockerSandbox
    stdout: Stream
    stderr: Stream

    def __init__(self, sandbox: DockerSandbox, command: Command, exec_id: str, attached: Attached) -> None:
        super().__init__(sandbox, command)
        loop = asyncio.get_running_loop()
        self.stdout, self.stderr = Stream(loop), Stream(loop)
        self._exec_id = exec_id
        self._attached = attached
        self._engine = sandbox.engine
        self._since = loop.time()
        self._turn = asyncio.Lock()
        self._closed = self._killed = False
        self._reading = asyncio.ensure_future(in_thread(self._read))
        self._reading.add_done_callback(self._output_ended)
        self._ended = asyncio.create_task(self._end(), name=f"end of exec {exec_id[:12]}")
        self._ended.add_done_callback(_retrieve)
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

    def _output_ended(self, reading: asyncio.Future[None]) -> None:
        self.stdout.end()
        self.stderr.end()

    def _close(self, half: asyncio.Future[Any]) -> None:
        if self._reading.done() and self._ended.done():
            self._attached.close()
            self._engine.processes.discard(self)

    async def write(self, data: bytes) -> None:
        """As the contract says."""
        async with self._turn:
            if self._closed or self._ended.done():
                raise self._broken()
            try:
                await in_thread(lambda: self._attached.write(data))
            except OSError as error:
                raise self._broken() from error

    def _broken(self) -> ProviderError:
        death = self._engine.events.death(self.sandbox.ref.id)
        if death.done():
            return SandboxDead(death.result().reason, operation="write", sandbox=self.sandbox.ref.id)
        return ConnectionLost("its standard input is closed", operation="write", sandbox=self.sandbox.ref.id)

    async def close_stdin(self) -> None:
        """As the contract says."""
        async with self._turn:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(OSError):
                    await in_thread(self._attached.close_stdin)

    async def wait(self) -> Exit:
        """As the contract says."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """As the contract says: by a second command, as the engine has no call for it."""
        self._killed = not self._ended.done()
        for stream in (self.stdout, self.stderr):
            stream.drop()  # an engine that cannot pass output on tells of no end in that container
        await super().kill()

    async def aclose(self) -> None:
        """Give up the connection. The command is not touched."""
        self._attached.shut()
        self._output_ended(self._reading)
        self._ended.cancel()
        await asyncio.wait({self._ended, self._reading})

    async def _end(self) -> Exit:
        events = self._engine.events
        exit = events.exit(self._exec_id)
        death = events.death(self.sandbox.ref.id)
        try:
            told: set[asyncio.Future[Any]] = {exit, death}
            await asyncio.wait({*told, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            failures = 0
            while not exit.done():
                try:
                    code = await self.sandbox.exit_code_of(self._exec_id)
                except SandboxDead:
                    raise
                except ProviderError as error:
                    failures += 1
                    if failures == _ASK_TIMES:
                        raise ConnectionLost(f"its end was not seen: {error.message}", operation="wait") from error
                else:
                    if code is not None:
                        return await self._exit(code)
                await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED, timeout=_RECHECK_SECS)
            return await self._exit(exit.result())
        finally:
            events.forget(self._exec_id)

    async def _exit(self, code: int) -> Exit:
        if code not in _OF_THE_DYING or self._killed:
            return Exit(code)
        id, events = self.sandbox.ref.id, self._engine.events
        death = events.death(id)
        short = asyncio.ensure_future(events.ran_short(id, self._since, _SHORTAGE_SECS))
        try:
            await self.sandbox.probe()
            either: set[asyncio.Future[Any]] = {death, short}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            short.cancel()
        if death.done():
            raise SandboxDead(death.result().reason, operation="wait", sandbox=id)
        if code == KILLED and short.result():
            return Exit(code, reason=no_memory(self.sandbox.memory_gb))
        return Exit(code)


def _retrieve(ended: asyncio.Task[Exit]) -> None:
    """Look at the outcome, so that nobody is warned if nobody waited for it."""
    if not ended.cancelled():
        ended.exception()
