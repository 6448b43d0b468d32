"""The loopback server itself: its start and end, its limits, its commands over HTTP, and the start by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import modal
import pytest
from loopback import Loopback
from through_sdk import BOUND_SECS, new_app, new_sandbox, run, until

# Where no server can be, these are skipped as the others are.
pytestmark = pytest.mark.usefixtures("shared_loopback")

TESTS = Path(__file__).parent
SHELL = """
import modal, os, sys
app = modal.App.lookup("by-hand", create_if_missing=True)
sandbox = modal.Sandbox.create(app=app)
print(sandbox.exec("echo", "hello").stdout.read(), end="")
print(sandbox.object_id)
"""


def _started_by(pid: int) -> list[str]:
    """The names of all living processes in the process's sandboxes."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
            name = (process / "comm").read_text()
        except OSError:
            continue
        if f"LOOPBACK_TEST={pid}".encode() in environ:
            found.append(name.strip())
    return found


def test_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end of a server there is no process, directory, mount, thread or open file of it."""

    async def use(server: Loopback) -> None:
        sandbox = await new_sandbox(env={"LOOPBACK_TEST": str(os.getpid())})
        await sandbox.exec.aio("sleep", "600")
        dead = await new_sandbox()
        server.kill(dead.object_id, router="synhole", announce=600)

    counts = []
    # The SDK opens some files once in the life of the process, so the second round is compared with the first.
    for _ in range(2):
        with Loopback() as server:
            _connect(server, monkeypatch)
            run(use(server))
            assert len(_started_by(os.getpid())) >= 2
            modal.Client.from_env().close()
        assert _started_by(os.getpid()) == []
        assert not Path(server.environment["MODAL_CONFIG_PATH"]).parent.exists()
        assert str(Path(server.environment["MODAL_CONFIG_PATH"]).parent) not in Path("/proc/mounts").read_text()
        counts.append((len(list(Path("/proc/self/fd").iterdir())), threading.active_count()))
    assert counts[1] <= counts[0]


def _connect(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    modal.Client.from_env().close()


def test_without_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root's rights a server says so, and has started nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="root's rights"):
        Loopback().start()
    assert threading.active_count() == threads


async def test_port_of_a_refusing_router_stays_taken(loopback: Loopback) -> None:
    """Nobody else is given the port of a router that refuses, and a connection to it is refused."""
    urls: list[str] = []
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        urls.extend(state.url for state in loopback.sandboxes() if state.id == sandbox.object_id)
        loopback.kill(sandbox.object_id, router="refuse")
    port = urlparse(urls[0]).port
    assert port
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


@pytest.mark.parametrize("streams", [20, None])
def test_limit_of_streams(monkeypatch: pytest.MonkeyPatch, streams: int | None) -> None:
    """With as many waits as streams a poll has to wait; without the limit it is answered."""
    with Loopback(streams=streams) if streams else Loopback() as server:
        _connect(server, monkeypatch)

        async def test() -> None:
            sandbox = await new_sandbox()
            waits = [asyncio.create_task(sandbox.wait.aio(raise_on_termination=False)) for _ in range(20)]
            await until(lambda: server.calls(sandbox.object_id)["SandboxWaitV2"] == 20)
            polling = asyncio.create_task(sandbox.poll.aio())
            done, _ = await asyncio.wait({polling}, timeout=1 if streams else None)
            assert bool(done) is (streams is None)
            server.kill(sandbox.object_id)
            await asyncio.gather(*waits, polling)

        run(test())
        modal.Client.from_env().close()


async def test_many_sandboxes(own_loopback: Loopback) -> None:
    """Sixty sandboxes live at once, each with a router of its own, and a list has all of them."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        made = await asyncio.gather(*(new_sandbox(app=app) for _ in range(60)))
        listed = [each.object_id async for each in modal.Sandbox.list.aio(app_id=app.app_id)]
        assert sorted(listed) == sorted(each.object_id for each in made)
        assert len({state.url for state in own_loopback.sandboxes()}) == 60


def _command(url: str, name: str, **arguments: object) -> Any:
    request = urllib.request.Request(f"{url}/{name}", json.dumps(arguments).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_by_hand() -> None:
    """`python -m loopback` prints what to set, takes commands over HTTP, and leaves nothing when it is ended."""
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-m", "loopback"], env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            lines = [server.stdout.readline() for _ in range(6)]
            pairs = [line.removeprefix("export ").strip().partition("=") for line in lines[:5]]
            env |= {name: value for name, _, value in pairs}
            said = subprocess.run([sys.executable, "-c", SHELL], env=env, check=True, capture_output=True, text=True)
            hello, sandbox_id = said.stdout.split()
            url = lines[5].split()[-1].rpartition("/")[0]
            assert hello == "hello"
            _command(url, "kill", sandbox_id=sandbox_id, status="KERNEL_OOM_KILL", router="refuse")
            states = _command(url, "sandboxes")
            assert [(each["id"], each["alive"], each["router"]) for each in states] == [(sandbox_id, False, "refuse")]
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert not Path(env["MODAL_CONFIG_PATH"]).parent.exists()


def test_killed_server_leaves_no_process() -> None:
    """Sandboxes die with their server even when it is killed outright."""
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-m", "loopback"], env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        pairs = [server.stdout.readline().removeprefix("export ").strip().partition("=") for _ in range(5)]
        env |= {name: value for name, _, value in pairs}
        script = SHELL.replace("create(", f"create(env={{'LOOPBACK_TEST': '{server.pid}'}}, ")
        subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True)
        assert _started_by(server.pid)
        server.kill()
    run(until(lambda: not _started_by(server.pid)))
    state = Path(env["MODAL_CONFIG_PATH"]).parent
    subprocess.run(["rm", "-rf", str(state)], check=True)
