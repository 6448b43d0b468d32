"""A Docker Engine of the tests' own: real, private, gone afterwards. Needs Linux, root, `dockerd`, `debootstrap`.

    python tests/docker_engine.py start DIR     start one whose data and socket are in DIR; prints DOCKER_HOST
    python tests/docker_engine.py stop DIR      end it, and all its containers; DIR is removed
    python tests/docker_engine.py base DIR      import the base image of the tests into it; prints its name

There need be no image registry: the base image is a Debian made by `debootstrap`, kept in the user's cache directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import platformdirs
import psutil
from filelock import FileLock

BASE = "offload-tests-base"
"""Name of the base image: Debian with Python and Debian's pytest."""

_SUITE = "bookworm"
_PACKAGES = "python3,python3-pytest"
_START_SECS = 60.0
_STOP_SECS = 30.0


def missing() -> str:
    """Why no engine can be started here; empty if one can."""
    if sys.platform != "linux":
        return f"an engine of our own needs Linux, not {sys.platform}"
    if os.geteuid() != 0:
        return "an engine of our own needs root"
    for program, package in (("dockerd", "docker.io"), ("iptables", "iptables"), ("debootstrap", "debootstrap")):
        if shutil.which(program, path=_path()) is None:
            return f"there is no {program}: `apt-get install {package}`"
    return ""


class Engine:
    """One `dockerd`, with all that it needs in one directory. The path must be short: it has a socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self.url = f"unix://{self.socket}"
        self._pid_file = directory / "pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it did not; with the end of its log.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        log = self.directory / "log"
        command = ["dockerd", "--data-root", f"{self.directory}/data", "--exec-root", f"{self.directory}/exec"]
        command += ["-H", self.url, "-p", str(self._pid_file), "--log-level", "warn"]
        with log.open("ab") as out:
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_env(), start_new_session=True
            )
        deadline = time.monotonic() + _START_SECS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it is there."""
        return self.socket.exists() and self.docker("version").returncode == 0

    def docker(self, *arguments: str, stdin: object = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        """Run the `docker` command on it."""
        return self.command("-H", self.url, *arguments, stdin=stdin)

    @staticmethod
    def command(*arguments: str, stdin: object = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        """Run the `docker` command as it is configured."""
        command = ["docker", *arguments]
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)  # type: ignore[call-overload,no-any-return]

    @property
    def pid(self) -> int:
        """The process of `dockerd`."""
        return int(self._pid_file.read_text())

    def kill(self) -> None:
        """`kill -9`: its containers live on."""
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).kill()
        self._reap()

    def stop(self) -> None:
        """End it with all its containers, and remove the directory. Works after `kill`, too."""
        if not (self.directory / "data").is_dir():
            raise RuntimeError(f"{self.directory} is no directory of an engine: nothing was ended, nothing removed")
        if self.answers():
            containers = self.docker("ps", "-aq").stdout.split()
            if containers:
                self.docker("rm", "-f", "-v", *containers)
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM if process.name() == "dockerd" else signal.SIGCONT)
        _, alive = psutil.wait_procs([each for each in processes if _name(each) == "dockerd"], timeout=_STOP_SECS)
        for process in [*alive, *self._processes()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._reap()
        self._unmount()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(_STOP_SECS)

    def _processes(self) -> list[psutil.Process]:
        """Itself, its containerd, and the shims of containers, with what runs in these."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = any(f"{self.directory}/" in word for word in process.cmdline())
                if ours and process.name().startswith(("dockerd", "containerd")):
                    found += [process, *process.children(recursive=True)]
        return found

    def _unmount(self) -> None:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(f"{self.directory}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)

    def import_base(self) -> str:
        """Import the base image, made once for this machine. Returns its name."""
        with base_archive().open("rb") as archive:
            done = self.docker("import", "-c", 'CMD ["/bin/sh"]', "-", BASE, stdin=archive)
        if done.returncode:
            raise RuntimeError(f"docker import failed: {done.stderr}")
        return BASE


def base_archive() -> Path:
    """The base image's files as a tar archive; made by `debootstrap` when it is not in the cache (about 40 s)."""
    cache = Path(platformdirs.user_cache_dir("offload-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(f"{_SUITE} {_PACKAGES}".encode()).hexdigest()[:12]
    archive = cache / f"base-{key}.tar"
    with FileLock(cache / "base.lock"):
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                tree, new = f"{directory}/tree", f"{directory}/new.tar"
                making = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, tree]
                _run([*making, *_mirror()])
                left_out = ["--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*"]
                _run(["tar", "-C", tree, *left_out, "-cf", new, "."])
                Path(new).replace(archive)
    return archive


def _mirror() -> list[str]:
    """The mirror that this machine's apt uses, if it is not debootstrap's own default."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False
    )
    mirrors = [line for line in listed.stdout.split() if "security" not in line]
    return mirrors[:1]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_env())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _env() -> dict[str, str]:
    return {**os.environ, "PATH": _path()}


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def main() -> int:
    """See the module's docstring."""
    match sys.argv[1:]:
        case ["start", directory]:
            engine = Engine(Path(directory).absolute())
            engine.start()
            print(f"DOCKER_HOST={engine.url}")
        case ["stop", directory]:
            Engine(Path(directory).absolute()).stop()
        case ["base", directory]:
            print(Engine(Path(directory).absolute()).import_base())
        case _:
            print(__doc__, file=sys.stderr)
            return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
