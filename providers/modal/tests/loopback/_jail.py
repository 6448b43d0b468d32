"""A process tree in namespaces of its own, above a copy-on-write file system of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ._execution import Execution
from ._pipes import Output, ended

# Every mount is made in the jail's own mount namespace, so all of them vanish with its last process.
_SETUP = """
root=$1 options=$2 workdir=$3; shift 3
theirs=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t overlay overlay -o "$options" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"
mkdir -p "$root$workdir"
chroot=$(command -v chroot)
exec 3>&1 > /dev/null
PATH=$theirs
exec "$chroot" "$root" /bin/sh -c '
cd "$0" && { echo ready >&3; exec 2> /dev/null 3>&-; "$@" & wait $!; }' "$workdir" "$@"
"""
# Nothing may be run in the jail before it is ready: process 1 still has the machine's own root until then.
# `wait` in the last shell, process 1 of the jail, also reaps the orphans.

_ENTER = 'cd "$0" && exec "$@"'


class Jail:
    """A running jail: process 1, and what is run beside it; all die together."""

    def __init__(self, state: Path, name: str, layers: Sequence[str]) -> None:
        """`layers`: directories below `state`, lowest first; what is changed is written to `<name>/upper`."""
        self._state = state
        self._name = name
        self._layers = layers
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    @property
    def upper(self) -> Path:
        """Where what the jail changes is kept; what is put there before the start is seen by it."""
        return self._state / self._name / "upper"

    @property
    def layer(self) -> str:
        """What the jail has changed, as an overlay layer below `state`."""
        return f"{self._name}/upper"

    async def start(self, command: Sequence[str], env: Mapping[str, str], workdir: str) -> None:
        """Mount the file system and run `command` in it as the process that the jail ends with.

        Raises:
            RuntimeError: namespaces or overlay mounts are not allowed here; the message has the system's own words.
        """
        said = Output()
        self._process = self._spawn(said, command, env, workdir)
        try:
            await _ready(said)
            self._init = _only_child(self._process.pid)
        except BaseException:
            await self.kill()
            raise
        finally:
            said.end()

    def _spawn(
        self, said: Output, command: Sequence[str], env: Mapping[str, str], workdir: str
    ) -> subprocess.Popen[bytes]:
        for part in ("upper", "work", "root"):
            (self._state / self._name / part).mkdir(parents=True, exist_ok=True)
        lower = ":".join([*reversed(self._layers), "/"])
        options = f"lowerdir={lower},upperdir={self._name}/upper,workdir={self._name}/work"
        namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
        setup = ["/bin/sh", "-ec", _SETUP, "sh", f"{self._name}/root", options, workdir]
        reader, writer = os.pipe()
        try:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", str(shutil.which("unshare")), *namespaces, *setup, *command],
                executable=shutil.which("setpriv"),
                cwd=self._state,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
            )
        finally:
            os.close(writer)
            said.attach(reader)

    @property
    def root(self) -> Path:
        """The running jail's whole file system, seen from outside; absolute links in it lead astray."""
        return Path(f"/proc/{self._init}/root")

    def run(
        self, command: Sequence[str], env: Mapping[str, str], workdir: str, timeout: float | None = None
    ) -> Execution:
        """Start `command` beside process 1; it is killed after `timeout` seconds.

        Raises:
            RuntimeError: the jail is dead.
        """
        if self._process is None or self._process.poll() is not None:
            # The number of its process 1 may by now be that of a process of the machine.
            raise RuntimeError("the jail is dead")
        nsenter = [f"--target={self._init}", "--mount", "--pid", "--root", f"--wd={self.root}"]
        argv = ["nsenter", *nsenter, "--", "/bin/sh", "-c", _ENTER, workdir, *command]
        return Execution(argv, env, timeout)

    async def wait(self) -> int:
        """The exit code of process 1, when it has ended; negative for a signal."""
        assert self._process is not None
        if self._process.returncode is None:
            await ended(self._process.pid)
        return self._process.wait()

    async def kill(self) -> None:
        """Kill every process in the jail; returns when they are gone, and the mounts with them."""
        if self._process is not None and self._process.poll() is None:
            # Process 1 takes its whole namespace along; `unshare` then ends by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init or self._process.pid, signal.SIGKILL)
            await self.wait()


async def _ready(said: Output) -> None:
    words = b""
    while not words.endswith(b"ready\n"):
        chunk = await said.read(len(words))
        if not chunk:
            raise RuntimeError(f"a sandbox's file system cannot be made here: {words.decode(errors='replace').strip()}")
        words += chunk


def _only_child(pid: int) -> int:
    """Process 1 of the jail; 0 if it has been killed already."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(children[0]) if children else 0
