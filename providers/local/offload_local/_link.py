"""Offload's end of the connection to one sandbox's supervisor."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from offload_core.abc import Exit, Liveness
from offload_core.errors import CapacityExhausted, CreateFailed, ExecFailed, SandboxDead
from offload_core.kit import settle

from . import _supervisor

# Imported, not run as a script: compiling it anew would take as long as everything else at its start.
_MAIN = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import _supervisor; _supervisor.main()"
_CHUNK = 1 << 16
_EXIT_SECS = 0.5  # between the end of a process's sockets and its exit status there is next to nothing


def start(environment: Mapping[str, str], directory: Path, lifetime: float, open_files: int) -> Link:
    """Start a supervisor; its `ready` is still to come. Has to be called in the event loop.

    Raises:
        CapacityExhausted: no process or no open file is to be had now.
        CreateFailed: anything else.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise CapacityExhausted(f"cannot make a socket: {error.strerror}") from error
    # Without `site` it starts faster; where there is no /proc, it needs psutil.
    flags = ["-I", "-S"] if _supervisor.LINUX else ["-I"]
    arguments = [str(theirs.fileno()), str(directory), str(lifetime), str(open_files)]
    log = directory / "supervisor.log"
    try:
        with theirs, log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *flags, "-c", _MAIN, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=dict(environment),
                cwd=directory,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        if isinstance(error, BlockingIOError):
            raise CapacityExhausted(f"cannot start a process: {error.strerror}") from error
        raise CreateFailed(f"cannot start {sys.executable}: {error.strerror}") from error
    return Link(process, ours, log)


@define(eq=False)
class Exec:
    """One command, as the supervisor reports on it.

    Attributes:
        started: None once it runs, else what is to be raised.
        exited: None if the supervisor died first.
        killed: process ids of what survived.
    """

    id: str
    pid: int = 0
    started: asyncio.Future[ExecFailed | SandboxDead | None] = field(factory=asyncio.Future)
    exited: asyncio.Future[Exit | None] = field(factory=asyncio.Future)
    killed: asyncio.Future[list[int]] | None = None


class Link:
    """The connection to one supervisor: its end is the sandbox's death.

    Attributes:
        ready: done when commands can be started, or never.
        gone: gets the reason as soon as the supervisor has ended.
        orderly: whether it said before its end that it left nothing behind.
        sessions: the ids of the sessions of the commands that have not ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, log: Path) -> None:
        self.process = process
        self._log = log
        self.orderly = False
        self.sessions: set[int] = set()
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = asyncio.Future()
        self.gone: asyncio.Future[Liveness] = asyncio.Future()
        self._last_words = ""
        self._execs: dict[str, Exec] = {}
        self._inbox = bytearray()
        self._outbox: deque[tuple[bytes, tuple[int, ...]]] = deque()
        channel.setblocking(False)
        self._loop.add_reader(channel.fileno(), self._receive)

    async def started(self) -> None:
        """Wait until commands can be started.

        Raises:
            CreateFailed: the supervisor has ended, with the reason.
        """
        either: set[asyncio.Future[Any]] = {self.ready, self.gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self.gone.done():
            raise CreateFailed(self.gone.result().reason)

    async def exec(
        self, id: str, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes], fds: tuple[int, int, int]
    ) -> Exec:
        """Start a command; takes the three descriptors over. Cancelled, it is killed.

        Raises:
            ExecFailed: with the reason.
            SandboxDead: with the reason.
        """
        running = Exec(id)
        self._execs[id] = running
        self._send(("exec", id, argv, cwd, env), fds)
        try:
            failure = await running.started
        except asyncio.CancelledError:
            self._send(("kill", id))
            raise
        if failure is not None:
            raise failure
        return running

    async def kill(self, running: Exec) -> list[int]:
        """Kill everything that a command started; returns the ids of processes that could not be killed."""
        if self.gone.done():
            return []
        if running.killed is None or running.killed.done():
            running.killed = asyncio.Future()
            self._execs[running.id] = running
            self._send(("kill", running.id))
        return await asyncio.shield(running.killed)

    def end(self) -> None:
        """Ask the supervisor to kill everything and end; `gone` follows."""
        self._send(("end",))

    def dead(self) -> SandboxDead:
        """The error for an operation that came too late. Only when `gone` is done."""
        return SandboxDead(self.gone.result().reason)

    def _send(self, message: tuple[Any, ...], fds: tuple[int, ...] = ()) -> None:
        if self.gone.done():
            _close(fds)
            return self._fail_all()
        self._outbox.append((_supervisor.packed(message), fds))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._channel.sendmsg([data], ancillary)
            except BlockingIOError:
                self._loop.add_writer(self._channel.fileno(), self._flush)
                return
            except OSError:  # it is gone, or cannot be talked to and has to go: the end of the stream says so
                with contextlib.suppress(OSError):
                    self._channel.shutdown(socket.SHUT_RDWR)
                _close(fds)
                self._outbox.popleft()
                continue
            _close(fds)  # the message carries copies
            if sent < len(data):
                self._outbox[0] = (data[sent:], ())
            else:
                self._outbox.popleft()
        self._loop.remove_writer(self._channel.fileno())

    def _receive(self) -> None:
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._ended()
        self._inbox += data
        for message in _supervisor.unpacked(self._inbox):
            self._heard(message)

    def _heard(self, message: tuple[Any, ...]) -> None:
        match message:
            case ["ready"]:
                self.ready.set_result(None)
            case ["ended", reason, survivors]:
                self._last_words, self.orderly = reason, not survivors
            case [event, id, *arguments] if running := self._execs.get(id):
                self._heard_of(running, event, arguments)

    def _heard_of(self, running: Exec, event: str, arguments: list[Any]) -> None:
        match event, arguments:
            case "started", [pid]:
                self.sessions.add(pid)
                running.pid = pid
                settle(running.started, None)
            case "failed", [why]:
                del self._execs[running.id]
                settle(running.started, ExecFailed(why))
            case "exited", [code, signal]:
                self.sessions.discard(running.pid)  # from here on the id can be given to something else
                if running.killed is None:
                    del self._execs[running.id]
                settle(running.exited, Exit(code, signal))
            case "killed", [survivors]:
                if running.exited.done():
                    self._execs.pop(running.id, None)
                if running.killed is not None:
                    settle(running.killed, survivors)

    def _ended(self) -> None:
        self._loop.remove_reader(self._channel.fileno())
        self._loop.remove_writer(self._channel.fileno())
        self._channel.close()
        for _, fds in self._outbox:
            _close(fds)
        self._outbox.clear()
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(_EXIT_SECS)
        reason = self._last_words
        if not reason:
            how = "closed the connection" if code is None else str(Exit(code) if code >= 0 else Exit(None, -code))
            reason = f"its supervisor (process {self.process.pid}) ended: {how}"
            with contextlib.suppress(OSError):
                reason = "\n".join(filter(None, [reason, self._log.read_text(errors="replace").strip()[-2000:]]))
        self.gone.set_result(Liveness.dead(reason, exit_code=code))
        self._fail_all()

    def _fail_all(self) -> None:
        for running in self._execs.values():
            settle(running.started, self.dead())
            settle(running.exited, None)
            if running.killed is not None:
                settle(running.killed, [])
        self._execs.clear()


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
