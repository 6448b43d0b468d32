"""A TCP door in front of a server, whose faults are those of a network: refuse, hang, drop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Literal

Mode = Literal["up", "refuse", "hang", "synhole"]

_CHUNK = 64 * 1024
_FILLERS = 8
_ROUNDS = 8  # of the event loop, after which what was accepted has been handed to its relay


class Gate:
    """Passes connections on a port of 127.0.0.1 to the Unix socket `target`, while its mode is `up`.

    `refuse`: the port stays taken but nobody listens; open connections are reset. `hang`: connections are accepted,
    and nothing is ever read or answered, on open ones either. `synhole`: as `hang`, and the SYN of a new connection
    gets no answer, because the queue of the listening socket is full.
    """

    def __init__(self, target: str, connected: Callable[[], None] = lambda: None) -> None:
        """`connected` is called for each connection that is accepted."""
        self._target = target
        self._connected = connected
        self._relays: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._fillers: list[socket.socket] = []
        # Bound for as long as the gate exists, so that no other process is given the port while nobody listens.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self.mode: Mode = "refuse"

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    async def set(self, mode: Mode) -> None:
        """Change what happens to new and to open connections."""
        if mode == self.mode:
            return
        await self._stop_listening()
        self.mode = mode
        if mode == "up":
            self._open.set()
        else:
            self._open.clear()
        if mode in ("up", "hang"):
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=512)
        elif mode == "synhole":
            self._fill()
        else:
            await self._reset()

    async def close(self) -> None:
        """Close the port and every connection."""
        await self._stop_listening()
        self.mode = "refuse"
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        await self._reset()
        self._holder.close()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            await asyncio.sleep(
                0
            )  # a connection that was accepted just now gets its transport, for which it needs a server
            self._server.close()
            self._server = None
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    async def _reset(self) -> None:
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)

    def _fill(self) -> None:
        deaf = _bound(self.port)
        deaf.listen(0)
        self._fillers.append(deaf)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        self._connected()
        try:
            if self.mode == "refuse":  # it was accepted just before
                return
            await self._open.wait()
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._target)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, inner_writer))
                    both.create_task(self._pump(inner_reader, writer))
            finally:
                inner_writer.transport.abort()
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass  # the connection is over, by the peer's will or by the gate's
        finally:
            writer.transport.abort()
            self._relays.discard(relay)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        await self._open.wait()
        raise ConnectionResetError


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock
