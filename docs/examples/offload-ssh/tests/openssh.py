"""An OpenSSH server of the tests' own: on loopback, with keys that are made for it, and nothing of the machine's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

_SSHD_CONFIG = """\
AuthorizedKeysFile {directory}/key.pub
HostKey {directory}/host_key
ListenAddress 127.0.0.1
PasswordAuthentication no
PidFile none
Port {port}
StrictModes no
UsePAM no
"""
_SSH_CONFIG = """\
Host *
    HostName 127.0.0.1
    HostKeyAlias server
    IdentitiesOnly yes
    IdentityFile {directory}/key
    Port {port}
    UserKnownHostsFile {directory}/known_hosts
"""


@frozen
class Server:
    """An sshd that runs: any host name means it. `ssh` is the command to reach it with."""

    ssh: tuple[str, ...]
    process: subprocess.Popen[bytes]

    def cut(self) -> None:
        """End all connections, as a network that fails does. New ones can be made."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = status.read_text().rpartition(") ")[2].split()[1]
            except OSError:
                continue  # it has ended meanwhile
            if int(parent) == self.process.pid:
                os.kill(int(status.parent.name), signal.SIGKILL)

    def stop(self) -> None:
        """Be gone, with all connections, as a host that is switched off."""
        self.cut()
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Server]:
    """A server whose files are in a directory."""
    if SSHD is None:
        pytest.skip("there is no sshd: apt-get install openssh-server")
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    host_key = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"server {host_key}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, text in (("sshd_config", _SSHD_CONFIG), ("ssh_config", _SSH_CONFIG)):
        (directory / name).write_text(text.format(directory=directory, port=port))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd gives up its privileges
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", directory / "sshd_config"], stderr=log)
    try:
        _wait_for(port, process, directory / "log")
        yield Server(("ssh", "-F", str(directory / "ssh_config")), process)
    finally:
        process.terminate()
        process.wait()


def kill_marked(id: str) -> None:
    """Kill every process of a sandbox: the server's processes are on this machine."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"OFFLOAD_SSH_SANDBOX={id}".encode() in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)
        except OSError:
            continue  # it has ended meanwhile, or is not ours


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.01)
    raise AssertionError(f"sshd does not start: {log.read_text()}")
