"""The one process that a sandbox consists of: it starts the commands, and nothing it started outlives it.

Runs in a process of its own, with the arguments FD DIRECTORY LIFETIME OPEN_FILES, and talks over the socket FD with
`_link.py`. Each message is a length (4 bytes, big-endian) and a marshalled tuple:

    in:  ("exec", id, argv, cwd, env) with three file descriptors, ("kill", id), ("end",)
    out: ("ready",), ("started", id, pid), ("failed", id, why), ("exited", id, code, signal), ("killed", id, survivors),
         ("ended", reason, survivors)

The end of the socket means that Offload is gone, even by SIGKILL: everything is killed and the directory removed.

It imports little, and C modules where the public one loads many others: that halves the start of each sandbox.
"""
# ruff: noqa: PTH101, PTH106, PTH108, PTH120, PTH123, PTH208

from __future__ import annotations

import _signal as signals  # type: ignore[import-not-found]
import _socket
import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

EXEC_MARK = "OFFLOAD_EXEC"
SANDBOX_MARK = "OFFLOAD_SANDBOX"
SUPERVISOR_MARK = "OFFLOAD_SUPERVISOR"

LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECS = 10.0  # SIGKILL takes effect at once, but for a process that the kernel holds
_MAX_FDS = 16


class Supervisor:
    """Everything that runs in one sandbox."""

    def __init__(self, channel: _socket.socket, directory: str, lifetime: float) -> None:
        self.channel = channel
        self.directory = directory
        self.lifetime = lifetime
        self.inbox = bytearray()
        self.fds: list[int] = []
        self.running: dict[int, str] = {}  # process id of a command's first process -> id of the exec
        self.sessions: dict[int, str] = {}  # the same of all that ever ran: each led a session
        self.prctl = _prctl() if LINUX else None
        self.environment = {key: value for key, value in os.environb.items() if key != SUPERVISOR_MARK.encode()}
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self.wake, False)
        signals.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        for number in (signals.SIGCHLD, signals.SIGTERM, signals.SIGINT, signals.SIGHUP):
            signals.signal(number, lambda *_: None)
        if self.prctl is not None:
            self.prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> None:
        """Serve until told to end, until Offload is gone, or until the lifetime is over."""
        over = time.monotonic() + self.lifetime
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        self.report("ready")
        while True:
            left = over - time.monotonic()
            if left <= 0:
                return self.end(f"its lifetime of {self.lifetime:g} s is over")
            ready = dict(poll.poll(min(left, 3600.0) * 1000))
            if self.woken in ready and self.drain() - {signals.SIGCHLD}:
                return self.end("its supervisor was asked to end by a signal")
            self.reap()
            if self.channel.fileno() in ready:
                messages = self.receive()
                if messages is None:
                    return self.end("Offload is gone")
                for operation, *arguments in messages:
                    if operation == "exec":
                        self.exec(*arguments)
                    elif operation == "kill":
                        self.kill(*arguments)
                    else:
                        return self.end("terminated")

    def receive(self) -> Iterator[tuple[Any, ...]] | None:
        """The messages that are complete; None at the end of the stream."""
        try:
            data, ancillary, _, _ = self.channel.recvmsg(1 << 16, _socket.CMSG_SPACE(4 * _MAX_FDS))
        except OSError:
            return None
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                for start in range(0, len(content) - 3, 4):
                    fd = int.from_bytes(content[start : start + 4], sys.byteorder)
                    os.set_inheritable(fd, False)
                    self.fds.append(fd)
        if not data:
            return None
        self.inbox += data
        return unpacked(self.inbox)

    def report(self, *message: Any) -> None:
        try:
            self.channel.sendall(packed(message))
        except OSError:
            pass  # Offload is gone: the end of the stream says so next

    def drain(self) -> set[int]:
        """The numbers of the signals that arrived."""
        try:
            return set(os.read(self.woken, 1 << 16))
        except BlockingIOError:
            return set()

    def exec(self, id: str, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes]) -> None:
        """Start a command on the three descriptors that came with the message."""
        fds, self.fds = self.fds[:3], self.fds[3:]
        environment = {**self.environment, **env}
        errors, error = os.pipe()
        try:
            pid = os.fork()
        except OSError as failure:
            os.close(error)
            why = f"cannot start a process: {failure.strerror}".encode()
        else:
            if pid == 0:
                self.become(argv, cwd, environment, [*fds, error])
            os.close(error)
            why = b"".join(iter(lambda: os.read(errors, 1 << 16), b""))
        for fd in (*fds, errors):
            os.close(fd)
        if why:
            self.reap()
            return self.report("failed", id, why.decode(errors="replace"))
        self.running[pid] = self.sessions[pid] = id
        self.report("started", id, pid)

    def become(self, argv: list[bytes], cwd: bytes, environment: dict[bytes, bytes], fds: list[int]) -> None:
        """In the new process: turn into the command, or tell why not. Does not return."""
        doing = b"start"
        try:
            os.setsid()
            if self.prctl is not None:
                supervisor = os.getppid()
                self.prctl(_PR_SET_PDEATHSIG, signals.SIGKILL)
                if os.getppid() != supervisor:
                    os._exit(1)
            for number in (signals.SIGPIPE, signals.SIGXFSZ):  # Python ignores these; what it starts must not
                signals.signal(number, signals.SIG_DFL)
            for target, fd in enumerate(fds[:3]):
                os.dup2(fd, target)
            doing = b"enter the directory " + cwd
            os.chdir(cwd)
            doing = b"run " + argv[0]
            os.execvpe(argv[0], argv, environment)
        except BaseException as failure:
            why = getattr(failure, "strerror", None) or str(failure)
            os.write(fds[3], b"cannot " + doing + b": " + why.encode(errors="replace"))
        os._exit(127)

    def reap(self) -> bool:
        """Take the exits that are there and report those of commands; whether there are children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if id := self.running.pop(pid, None):
                code = os.waitstatus_to_exitcode(status)
                self.report("exited", id, code if code >= 0 else None, -code if code < 0 else None)

    def kill(self, id: str) -> None:
        """Kill everything that one command started, also what left its session or lost its parent."""
        self.report("killed", id, self.exterminate(lambda: self.tree(id)))

    def tree(self, id: str) -> Iterable[int]:
        """The processes that belong to one command, parents before their children."""
        others = set(self.running.values()) - {id}
        chosen: dict[int, None] = {}
        for pid, parent, session in self.descendants():
            if parent in chosen or self.sessions.get(pid) == id or self.sessions.get(session) == id:
                chosen[pid] = None
            elif pid not in self.running and parent in (os.getpid(), 1):
                # An orphan in a session of its own: the mark tells whose, or it cleared its environment.
                mark = _environ(pid).get(EXEC_MARK)
                if mark == id or (mark is None and not others):
                    chosen[pid] = None
        return chosen

    def descendants(self) -> list[tuple[int, int, int]]:
        """Process id, parent and session of everything below this process, parents before their children."""
        children: dict[int, list[tuple[int, int, int]]] = {}
        for pid, parent, session in process_table():
            if not LINUX and parent == 1 and _environ(pid).get(SANDBOX_MARK) == os.environ[SANDBOX_MARK]:
                children.setdefault(os.getpid(), []).append((pid, parent, session))
            children.setdefault(parent, []).append((pid, parent, session))
        found = list(children.get(os.getpid(), ()))
        for each in found:
            found += children.get(each[0], ())
        return found

    def exterminate(self, find: Callable[[], Iterable[int]]) -> list[int]:
        """Kill what `find` finds until it finds nothing; returns the ids of what the kernel would not let go.

        It finds parents before their children: none may see a child die, and go on for however short.
        """
        deadline = time.monotonic() + _PATIENCE_SECS
        empty = 0
        while empty < 2:  # a process that forks while it dies can slip through one look
            alive = list(find())
            for pid in alive:
                try:
                    os.kill(pid, signals.SIGKILL)
                except ProcessLookupError:
                    pass
            if alive and time.monotonic() > deadline:
                return alive
            empty = 0 if alive else empty + 1
            if alive:
                select.select([self.woken], [], [], 0.01)
                self.drain()
            self.reap()
        return []

    def end(self, reason: str) -> None:
        """Kill everything, remove the directory, and say so."""
        leaders = list(self.running)
        self.running.clear()  # how a command ends from here on tells nothing of the command
        for pid in leaders:
            try:
                os.killpg(pid, signals.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        deadline = time.monotonic() + 0.05
        while (children := self.reap()) and LINUX and time.monotonic() < deadline:
            select.select([self.woken], [], [], 0.01)
            self.drain()
        # No child left means nothing left where orphans come to this process: the costly look is spared.
        left = self.exterminate(lambda: [pid for pid, _, _ in self.descendants()]) if children or not LINUX else []
        remove_tree(self.directory)
        try:
            os.rmdir(os.path.dirname(self.directory))
        except OSError:
            pass  # other sandboxes of the run are there
        self.report("ended", reason, left)


def packed(message: tuple[Any, ...]) -> bytes:
    """A message as it travels."""
    data = marshal.dumps(message)
    return len(data).to_bytes(4, "big") + data


def unpacked(inbox: bytearray) -> Iterator[tuple[Any, ...]]:
    """Take the messages that are complete out of what has arrived."""
    while len(inbox) >= 4 and len(inbox) >= (end := 4 + int.from_bytes(inbox[:4], "big")):
        message = marshal.loads(inbox[4:end])
        del inbox[:end]
        yield message


def _prctl() -> Callable[[int, int], int]:
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: int(prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def process_table() -> list[tuple[int, int, int]]:
    """Process id, parent and session of all processes that have not ended."""
    if not LINUX:
        return process_table_of_psutil()
    table = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, _, session, _ = file.read().rpartition(b") ")[2].split(b" ", 4)
            except (OSError, ValueError):  # it is gone
                continue
            if state not in (b"Z", b"X"):
                table.append((int(name), int(parent), int(session)))
    return table


def process_table_of_psutil() -> list[tuple[int, int, int]]:
    import psutil

    table = []
    for process in psutil.process_iter(["ppid", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and process.info["ppid"] is not None:
            try:
                table.append((process.pid, process.info["ppid"], os.getsid(process.pid)))
            except OSError:  # it is gone, or not ours
                continue
    return table


def _environ(pid: int) -> dict[str, str]:
    """What the process was started with; empty if it is gone or not ours."""
    if not LINUX:
        import psutil

        try:
            return dict(psutil.Process(pid).environ())
        except (psutil.Error, OSError):
            return {}
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (entry.partition(b"=") for entry in file.read().split(b"\0"))
            return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs if key}
    except OSError:
        return {}


def remove_tree(path: str) -> None:
    """Remove a directory tree as far as it can be removed, never following a link."""
    try:
        os.chmod(path, 0o700)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                    continue
                try:
                    os.unlink(entry.path)
                except OSError:
                    pass
        os.rmdir(path)
    except OSError:
        pass  # whoever terminates the sandbox looks whether it is gone


def main() -> None:
    """Run the supervisor that the command line describes."""
    fd, directory, lifetime, open_files = sys.argv[1:]
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(open_files), most))
    os.set_inheritable(int(fd), False)
    Supervisor(_socket.socket(fileno=int(fd)), directory, float(lifetime)).run()
    os._exit(0)  # Offload waits for the exit status as soon as the socket closes
