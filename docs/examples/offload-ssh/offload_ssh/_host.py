"""Hosts, and the connections to them: each is an `ssh` that many sessions share (`ControlMaster` in ssh_config(5))."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from offload_core.abc import Completed, Exit
from offload_core.errors import AuthenticationFailed, ConnectionLost, NotFound, ProviderError
from offload_core.kit import PipeReader, PipeWriter

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
_REFUSED = ("Permission denied", "Host key verification failed", "Too many authentication failures")
_LOST = 255
"""The exit code of `ssh` itself. A remote command can have it too."""


@frozen(eq=False)
class Session:
    """A command that runs on a host: a local `ssh` that speaks for it, and its pipes."""

    connection: Connection
    client: asyncio.subprocess.Process
    stdin: PipeWriter
    stdout: PipeReader
    stderr: PipeReader

    async def wait(self) -> int | None:
        """The exit code of the remote command, or None if the connection broke, so that nobody knows it.

        The code 255 proves nothing: it counts as the command's only if the connection is there.
        """
        code = await self.client.wait()
        return None if code < 0 or (code == _LOST and not self.connection.alive) else code


@define(eq=False)
class Connection:
    """One connection. It lives as long as its `ssh` process: that is the cheapest evidence there is."""

    master: asyncio.subprocess.Process
    socket: Path
    clients: list[asyncio.subprocess.Process] = field(factory=list)

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.master.returncode is None

    @property
    def sessions(self) -> int:
        """How many sessions share it now."""
        self.clients = [client for client in self.clients if client.returncode is None]
        return len(self.clients)

    async def aclose(self) -> None:
        """End it, with its sessions."""
        with contextlib.suppress(ProcessLookupError):
            self.master.terminate()
        await asyncio.gather(self.master.wait(), *(client.wait() for client in self.clients))


class Host:
    """A host, by the name that `ssh` knows it under.

    Args:
        ssh: the command, with its options.
        sessions: how many may share a connection: sshd refuses more than `MaxSessions`, 10 by default.
        sockets: a private directory; its path must be short, for it is in a socket's address.
    """

    def __init__(self, name: str, ssh: Sequence[str], sessions: int, sockets: Path) -> None:
        self.name = name
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
        (stdin, ours_in), (ours_out, stdout), (ours_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        pipes = PipeWriter(ours_in), PipeReader(ours_out), PipeReader(ours_err)
        try:
            async with self._turn:  # one at a time: sshd refuses connections that come in a crowd
                connection = await self._connection()
                # Without its connection a session must fail, not make a connection of its own.
                alone = ("-S", str(connection.socket), "-o", "ProxyCommand=false")
                client = await asyncio.create_subprocess_exec(
                    *(*self._ssh, *alone, "--", self.name, READER),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
                connection.clients.append(client)
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):  # its end says why
            await pipes[0].write(encoded(script))
        return Session(connection, client, *pipes)

    async def run(self, script: str) -> Completed:
        """Run a shell script to its end. Cancelled, nobody waits for it any more: for scripts that end by themselves.

        Raises:
            ConnectionLost, AuthenticationFailed, NotFound: as `start`; or the connection broke.
        """
        session = await self.start(script)
        await session.stdin.close()
        try:
            stdout, stderr = await asyncio.gather(_all(session.stdout), _all(session.stderr))
            code = await session.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                session.client.kill()
            raise
        if code is None or code == _LOST:
            raise ConnectionLost(f"{self.name}: {_said(stderr) or 'the connection broke'}")
        return Completed(Exit(code), stdout, stderr)

    async def aclose(self) -> None:
        """End all connections."""
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
        master = await asyncio.create_subprocess_exec(
            *(*self._ssh, "-M", "-S", str(socket), "--", self.name, "echo ready; exec cat >/dev/null"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        connection = Connection(master, socket)
        assert master.stdout is not None
        assert master.stderr is not None
        ready = False
        try:
            first = await master.stdout.readline()
            ready = first == b"ready\n"
            why = "" if ready else _said(await master.stderr.read()) or f"its login shell prints {first!r}"
        finally:
            if not ready:
                await asyncio.shield(connection.aclose())
        if not ready:
            raise _unreachable(self.name, why)
        self._connections.append(connection)
        return connection


def _unreachable(host: str, why: str) -> ProviderError:
    """The error that says what happened: whether another try can help depends on it."""
    if any(words in why for words in _REFUSED):
        return AuthenticationFailed(f"{host}: {why}")
    if "Could not resolve hostname" in why:
        return NotFound(f"{host}: {why}")
    return ConnectionLost(f"{host}: {why or 'no answer'}")


async def _all(stream: PipeReader) -> bytes:
    return b"".join([chunk async for chunk in stream])


def _said(text: bytes) -> str:
    return text[-2000:].decode(errors="replace").strip()
