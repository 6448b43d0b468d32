"""What a sandbox leaves on this machine: marked processes, and a private directory. Whoever looks finds both.

Every process of a sandbox carries its id, its run and its directory in its environment. So a sandbox is found, and
removed, also by a process that knows nothing of the one that made it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import psutil
from attrs import define, field

from offload_core.abc import SandboxRef, SandboxSpec
from offload_core.errors import CreateFailed

from ._supervisor import SANDBOX_MARK, SUPERVISOR_MARK, remove_tree

RUN_MARK = "OFFLOAD_RUN_ID"
DIRECTORY_MARK = "OFFLOAD_SANDBOX_DIR"
EXPIRES_MARK = "OFFLOAD_SANDBOX_EXPIRES"

_PATIENCE_SECS = 10.0


def base() -> Path:
    """The directory that holds all private directories of this user. Need not exist."""
    return Path(tempfile.gettempdir()).resolve() / f"offload-{os.getuid()}"


def make_directory(spec: SandboxSpec) -> Path:
    """Make the private directory of a new sandbox. Its name is the sandbox's id, its parent's is the run's.

    Raises:
        CreateFailed: it cannot be made, or somebody else can write where it has to be.
    """
    where = base()
    try:
        where.mkdir(mode=0o700, exist_ok=True)
        found = where.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise CreateFailed(f"{where} has to be a directory that only you can use: remove it, or set TMPDIR")
        directory = where / plain(spec.run_id) / f"{plain(spec.name)}-{secrets.token_hex(4)}"
        while not directory.exists():
            directory.parent.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the run's last other sandbox took it along
                directory.mkdir(mode=0o700)
    except OSError as error:
        raise CreateFailed(f"cannot make a directory in {where}: {error.strerror}") from error
    return directory


def plain(name: str) -> str:
    """The name as part of a path: a run id or a sandbox's name is one already."""
    return re.sub(r"[^\w.-]|^\.+", "_", name, flags=re.ASCII) or "_"


@define
class Trace:
    """What is left of one sandbox: processes, whether its supervisor is among them, and where its directory is."""

    ref: SandboxRef
    directory: Path
    supervised: bool = False
    processes: list[psutil.Process] = field(factory=list)


def find() -> dict[str, Trace]:
    """All sandboxes of this user on this machine, by id. Slow for the event loop: it reads the whole process table."""
    traces: dict[str, Trace] = {}
    for directory in (each for run in _listed(base()) for each in _listed(run)):
        ref = SandboxRef(id=directory.name, run_id=directory.parent.name, name=directory.name.rpartition("-")[0])
        traces[ref.id] = Trace(ref, directory)
    for process, environment in _marked():
        id, run_id = environment[SANDBOX_MARK], environment.get(RUN_MARK, "")
        expires = float(environment[EXPIRES_MARK]) if EXPIRES_MARK in environment else None
        ref = SandboxRef(id=id, run_id=run_id, name=id.rpartition("-")[0], expires=expires)
        trace = traces.setdefault(id, Trace(ref, Path(environment[DIRECTORY_MARK])))
        trace.ref = ref
        trace.processes.append(process)
        trace.supervised = trace.supervised or SUPERVISOR_MARK in environment
    return traces


def _listed(directory: Path) -> list[Path]:
    """What is in a directory. Sandboxes come and go: what has gone meanwhile, also with its run, holds nothing."""
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _marked() -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()  # a process that has ended has none
            if SANDBOX_MARK in environment and DIRECTORY_MARK in environment and process.pid != os.getpid():
                yield process, environment


def remove(ids: Collection[str], directories: Collection[Path] = (), sessions: Collection[int] = ()) -> dict[str, str]:
    """Kill all processes of these sandboxes and remove their directories; what may still be there, with the reason.

    Blocks until the processes are gone, at most 10 s. `directories` and `sessions` are known besides those that are
    found: a process that cleared its environment is found by the session it shares with one that did not.
    """
    failed: dict[str, str] = {}
    deadline = time.monotonic() + _PATIENCE_SECS
    private = {path.name: path for path in directories}
    theirs = set(sessions)
    while True:
        here = {id: trace for id, trace in find().items() if id in ids}
        private |= {id: trace.directory for id, trace in here.items()}
        processes = {process for trace in here.values() for process in trace.processes}
        theirs |= {session for process in processes if (session := _session(process)) is not None}
        processes |= {process for process in psutil.process_iter() if _session(process) in theirs}
        if not processes:
            break
        if time.monotonic() > deadline:
            left = sorted(process.pid for process in processes)
            failed = dict.fromkeys(ids, f"of the sandboxes that were to end, these processes do not: {left}")
            break
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=0.1)
    for id, path in private.items():
        if message := remove_directory(path):
            failed.setdefault(id, message)
    return failed


def _session(process: psutil.Process) -> int | None:
    """The session of a process that runs, but not one that is ours."""
    with contextlib.suppress(psutil.Error, OSError):
        if process.status() != psutil.STATUS_ZOMBIE:
            session = os.getsid(process.pid)
            return session if session not in (0, os.getsid(0)) else None
    return None


def remove_directory(directory: Path) -> str:
    """Remove a private directory, and its run's if it was the last; why not, or an empty string."""
    if directory.parent.parent.name != base().name:  # its path was read from the environment of some process
        return f"{directory} is no sandbox's directory"
    remove_tree(str(directory))
    with contextlib.suppress(OSError):
        directory.parent.rmdir()
    return f"{directory} cannot be removed" if directory.exists() else ""
