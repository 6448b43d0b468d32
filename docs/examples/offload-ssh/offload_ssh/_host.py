"""Hosts, and the connections to them: each is an `ssh` that many sessions share (`ControlMaster` in ssh_config(5))."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen
from typing_extensions import override

from offload_core.abc import AsyncResource, ByteStream, Command, Completed, Exit
from offload_core.errors import AuthenticationFailed, ConnectionLost, NotFound, ProviderError
from offload_core.kit import BackgroundTasks, HostProcess

from ._scripts import READER, encoded

_SETTINGS = (
    "BatchMode=yes",  # nobody is there to type a password
    "ClearAllForwardings=yes",
    "ConnectTimeout=10",
    "ControlPersist=no",  # a connection must not outlive the provider
    "LogLevel=ERROR",
    "RemoteCommand=none",
    "RequestTTY=no",  # a terminal would merge the streams and change bytes
    "ServerAliveCountMax=3",
    "ServerAliveInterval=5",  # a host that is silent for 15 s is a lost connection
)
_READY = b"ready\n"
_REFUSED = ("Permission denied", "Host key verification failed", "Too many authentication failures")
LOST = 255
"""The exit code of `ssh` itself. A remote command can have it too."""

_UNDO_SECS = 20.0
"""How long closing waits for what was begun on the host: longer than it takes to find that a host is silent."""


@frozen(eq=False)
class Session:
    """A command that runs on a host, and the local `ssh` that speaks for it."""

    connection: Connection
    client: HostProcess

    async def wait(self) -> int | None:
        """The exit code of the remote command, or None if the connection broke, so that nobody knows it.

        The code 255 proves nothing: it counts as the command's only if the connection is there.
        """
        code = (await self.client.wait()).code
        return None if code == LOST and not self.connection.alive else code


@define(eq=False)
class Connection:
    """One connection. It lives as long as its `ssh` process: that is the cheapest evidence there is."""

    master: HostProcess
    socket: Path
    clients: list[HostProcess] = field(factory=list)

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return not self.master.ended.done()

    @property
    def sessions(self) -> int:
        """How many sessions share it now."""
        self.clients = [client for client in self.clients if not client.ended.done()]
        return len(self.clients)

    async def aclose(self) -> None:
        """End it, with its sessions."""
        await self.master.kill()
        await asyncio.gather(*(client.wait() for client in self.clients))


class Host(AsyncResource):
    """A host, by the name that `ssh` knows it under.

    Args:
        ssh: the command, with its options.
        sessions: how many may share a connection: sshd refuses more than `MaxSessions`, 10 by default.
        sockets: a private directory; its path must be short, for it is in a socket's address.

    Attributes:
        tasks: what was begun on the host, and is finished and undone also if nobody waits for it any more.
    """

    def __init__(self, name: str, ssh: Sequence[str], sessions: int, sockets: Path) -> None:
        self.name = name
        self.tasks = BackgroundTasks()
        self._ssh = (*ssh, *(word for setting in _SETTINGS for word in ("-o", setting)))
        self._most = sessions
        self._sockets = sockets
        self._connections: list[Connection] = []
        self._turn = asyncio.Lock()

    async def start(self, script: str) -> Session:
        """Start a shell script on the host.

        Raises:
            ConnectionLost, AuthenticationFailed, NotFound: the host cannot be reached.
        """
        async with self._turn:  # one at a time: sshd refuses connections that come in a crowd
            connection = await self._connection()
            # Without its connection a session must fail, not make a connection of its own.
            alone = ("-S", str(connection.socket), "-o", "ProxyCommand=false")
            client = await HostProcess.start(Command(argv=(*self._ssh, *alone, "--", self.name, READER)))
            connection.clients.append(client)
        with contextlib.suppress(ConnectionLost):  # its end says why
            await client.write(encoded(script))
        return Session(connection, client)

    async def run(self, script: str) -> Completed:
        """Run a shell script to its end. Cancelled, nobody waits for it any more: for scripts that end by themselves.

        Raises:
            ConnectionLost, AuthenticationFailed, NotFound: as `start`; or the connection broke.
        """
        session = await self.start(script)
        try:
            done = await session.client.communicate()
        except asyncio.CancelledError:
            await asyncio.shield(session.client.kill())
            raise
        code = await session.wait()
        if code is None or code == LOST:
            raise ConnectionLost(f"{self.name}: {_said(done.stderr) or 'the connection broke'}")
        return Completed(Exit(code), done.stdout, done.stderr)

    @override
    async def aclose(self) -> None:
        """End all connections."""
        await self.tasks.aclose(_UNDO_SECS)
        async with self._turn:
            await asyncio.gather(*(connection.aclose() for connection in self._connections))
            self._connections.clear()

    async def _connection(self) -> Connection:
        """One with room for another session, made if there is none."""
        for connection in list(self._connections):
            if not connection.alive:
                self._connections.remove(connection)
            elif connection.sessions < self._most:
                return connection
        socket = self._sockets / os.urandom(4).hex()
        keeps = ("-M", "-S", str(socket), "--", self.name, "echo ready; exec cat >/dev/null")
        connection = Connection(await HostProcess.start(Command(argv=(*self._ssh, *keeps))), socket)
        first = b""
        try:
            first = await _line(connection.master.stdout)
        finally:
            if first != _READY:
                await asyncio.shield(connection.aclose())
        if first != _READY:
            said = b"".join([chunk async for chunk in connection.master.stderr])
            raise _unreachable(self.name, _said(said) or f"its login shell prints {first!r}")
        self._connections.append(connection)
        return connection


def _unreachable(host: str, why: str) -> ProviderError:
    """The error that says what happened: whether another try can help depends on it."""
    if any(words in why for words in _REFUSED):
        return AuthenticationFailed(f"{host}: {why}")
    if "Could not resolve hostname" in why:
        return NotFound(f"{host}: {why}")
    return ConnectionLost(f"{host}: {why or 'no answer'}")


async def _line(stream: ByteStream) -> bytes:
    """The first line; less if the stream ends before."""
    said = b""
    async for chunk in stream:
        said += chunk
        if b"\n" in said:
            break
    return said


def _said(text: bytes) -> str:
    return text[-2000:].decode(errors="replace").strip()
