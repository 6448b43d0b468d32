"""A local sandbox leaves nothing behind, whoever dies first: Offload, the supervisor, or both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from offload_local import LocalOptions, LocalProvider, _supervisor, _traces

from offload_core.abc import Command, Context, Process, Sandbox, SandboxSpec
from offload_core.errors import CreateFailed, NotFound, SandboxDead
from offload_core.kit import launched

WITHIN = 30.0

# An orphaned daemon with a session of its own, children with and without one, and one that cleared its environment.
FAMILY = """\
(setsid sleep 600 </dev/null >/dev/null 2>&1 &)
env -i sleep 600 &
setsid sh -c 'sleep 600 & echo ready; wait' &
wait
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the test's own; in the end no sandbox must be left in it, nor a process of one."""
    directory = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield directory
    assert _marked(directory) == []
    assert not list(directory.glob("offload-*/*/*"))
    monkeypatch.setattr("tempfile.tempdir", None)


def _marked(directory: Path) -> list[psutil.Process]:
    """The processes of sandboxes whose private directories are below this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("OFFLOAD_SANDBOX_DIR", "").startswith(f"{directory}/"):
                found.append(process)
    return found


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _provider(project_dir: Path = Path("/"), **options: object) -> LocalProvider:
    return LocalProvider(LocalOptions(**options), Context(name="local", project_dir=project_dir))  # type: ignore[arg-type]


def _spec(**changes: object) -> SandboxSpec:
    return SandboxSpec(**{"name": "s", "run_id": "run", "lifetime": 600.0, **changes})  # type: ignore[arg-type]


async def _family(sandbox: Sandbox) -> Process:
    process = await sandbox.exec(launched(Command(argv=("sh", "-c", FAMILY))))
    assert await anext(process.stdout) == b"ready\n"
    return process


def _descendants(provider: LocalProvider, sandbox: Sandbox) -> list[psutil.Process]:
    supervisor = psutil.Process(provider._made[sandbox.ref.id].link.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def _gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; whoever inherits an orphan may reap it later."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_terminate_ends_everything() -> None:
    """`terminate` ends daemons and what cleared its environment, and has ended them when it returns."""

    async def check() -> None:
        provider = _provider()
        sandbox = await provider.create(_spec())
        await _family(sandbox)
        processes = _descendants(provider, sandbox)
        assert len(processes) >= 6
        await sandbox.terminate()
        assert _gone(processes)
        await provider.aclose()

    asyncio.run(check())


OFFLOAD = """\
import asyncio, json, sys
from pathlib import Path
from offload_core.abc import Command, Context, SandboxSpec
from offload_core.kit import launched
from offload_local import LocalOptions, LocalProvider

async def main():
    provider = LocalProvider(LocalOptions(), Context(project_dir=Path("/")))
    specs = [SandboxSpec(name=f"s{n}", run_id="killed") for n in range(3)]
    sandboxes = await asyncio.gather(*map(provider.create, specs))
    for sandbox in sandboxes:
        process = await sandbox.exec(launched(Command(argv=("sh", "-c", sys.argv[1]))))
        await anext(process.stdout)
    print(json.dumps([provider._made[sandbox.ref.id].link.process.pid for sandbox in sandboxes]), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.contextmanager
def _offload() -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """An Offload with three busy sandboxes: its process, and all processes of theirs."""
    family = FAMILY.replace("env -i", "")  # what has neither a mark nor anybody left who knows it cannot be found
    with subprocess.Popen([sys.executable, "-c", OFFLOAD, family], stdout=subprocess.PIPE) as offload:
        assert offload.stdout
        supervisors = [psutil.Process(pid) for pid in json.loads(offload.stdout.readline())]
        processes = [child for each in supervisors for child in (each, *each.children(recursive=True))]
        assert len(processes) >= 18
        try:
            yield offload, processes
        finally:
            offload.kill()


def test_nothing_survives_a_kill_of_offload(temporary: Path) -> None:
    """After `kill -9` of Offload its sandboxes end by themselves, with daemons and directories."""
    with _offload() as (offload, processes):
        assert list(temporary.glob("offload-*/killed/*"))
        offload.kill()
    _until(lambda: _gone(processes))
    _until(lambda: not list(temporary.glob("offload-*/*")))


def test_reap_after_everything_was_killed() -> None:
    """What survives when Offload and all supervisors are killed at once is listed and ended by another process."""
    with _offload() as (offload, processes):
        supervisors = [process for process in processes if "OFFLOAD_SUPERVISOR" in process.environ()]
        assert len(supervisors) == 3
        for process in supervisors:
            process.suspend()
        offload.kill()
        for process in supervisors:
            process.kill()

    async def check() -> None:
        provider = _provider()
        refs = await provider.list("killed")
        assert len(refs) == 3
        assert all(answer.is_dead for answer in (await provider.probe_many(refs)).values())
        assert await provider.terminate_many(refs) == {}
        assert await provider.list("killed") == []
        await provider.aclose()

    asyncio.run(check())


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_commands_die_with_the_supervisor() -> None:
    """When only the supervisor is killed, its commands die with it, and the rest is swept up. The signal is named."""

    async def check() -> None:
        provider = _provider()
        sandbox = await provider.create(_spec())
        process = await _family(sandbox)
        processes = _descendants(provider, sandbox)
        os.kill(processes[0].pid, signal.SIGKILL)
        answer = await asyncio.wait_for(sandbox.wait_dead(), WITHIN)
        assert answer.is_dead
        assert "SIGKILL" in answer.reason
        with pytest.raises(SandboxDead, match="SIGKILL"):
            await process.wait()
        with pytest.raises(SandboxDead, match="SIGKILL"):
            await sandbox.exec(Command(argv=("true",)))
        await sandbox.terminate()
        assert _gone(processes)
        await provider.aclose()

    asyncio.run(check())


def test_lifetime_says_so() -> None:
    """The reason of a death by lifetime is in words, and the commands it ended are not blamed."""

    async def check() -> None:
        provider = _provider()
        sandbox = await provider.create(_spec(lifetime=0.3))
        process = await sandbox.exec(Command(argv=("sleep", "600")))
        with pytest.raises(SandboxDead, match=r"lifetime of 0\.3 s"):
            await process.wait()
        await provider.aclose()

    asyncio.run(check())


def test_supervisor_ends_by_sigterm() -> None:
    """A supervisor that is asked to end by SIGTERM ends everything first."""

    async def check() -> None:
        provider = _provider()
        sandbox = await provider.create(_spec())
        await _family(sandbox)
        processes = _descendants(provider, sandbox)
        processes[0].terminate()
        assert "signal" in (await asyncio.wait_for(sandbox.wait_dead(), WITHIN)).reason
        await provider.aclose()
        assert _gone(processes)

    asyncio.run(check())


def test_kill_knows_whose_a_daemon_is() -> None:
    """Killing one command leaves the daemons of another alone, and takes its own, even those without a mark."""

    async def check() -> None:
        provider = _provider()
        sandbox = await provider.create(_spec())
        first = await _family(sandbox)
        ours = _descendants(provider, sandbox)[1:]
        second = await _family(sandbox)
        theirs = [each for each in _descendants(provider, sandbox)[1:] if each not in ours]
        await first.kill()
        assert _gone(ours)
        assert not any(_gone([each]) for each in theirs)
        script = "(setsid env -i sleep 600 </dev/null >/dev/null 2>&1 &) ; echo ready; exec sleep 600"
        await second.kill()
        third = await sandbox.exec(Command(argv=("sh", "-c", script)))
        await anext(third.stdout)
        last = _descendants(provider, sandbox)[1:]
        await third.kill()
        assert _gone(last)
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())


def test_many_sandboxes_need_few_threads() -> None:
    """A hundred sandboxes live at once, and cost no thread each."""
    import threading

    async def check() -> None:
        provider = _provider()
        before = threading.active_count()
        sandboxes = await asyncio.gather(*(provider.create(_spec(name=f"s{n}")) for n in range(100)))
        assert threading.active_count() <= before + 2
        assert await provider.terminate_many([sandbox.ref for sandbox in sandboxes]) == {}
        await provider.aclose()

    asyncio.run(check())


def test_broken_supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter that does not start is CreateFailed with what it printed, and leaves nothing."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such library >&2; exit 3\n")
    broken.chmod(0o755)

    async def check() -> None:
        provider = _provider()
        for executable, words in ((str(broken), "no such library"), ("/no/such/python", "cannot start")):
            monkeypatch.setattr(sys, "executable", executable)
            with pytest.raises(CreateFailed, match=words):
                await provider.create(_spec())
        await provider.aclose()

    asyncio.run(check())


def test_no_working_directory() -> None:
    """A working directory that is not there is NotFound, which is not retried; `check` says it, too."""

    async def check() -> None:
        provider = _provider(working_dir="no/such")
        with pytest.raises(NotFound, match="working_dir") as caught:
            await provider.create(_spec())
        assert not provider.is_retryable(caught.value)
        health = await provider.check()
        assert not health.ok
        await provider.aclose()

    asyncio.run(check())


def test_somebody_elses_directory(temporary: Path) -> None:
    """If others can write where the private directories have to be, nothing is made there."""
    base = _traces.base()
    base.mkdir(mode=0o777)
    base.chmod(0o777)

    async def check() -> None:
        provider = _provider()
        with pytest.raises(CreateFailed, match="only you"):
            await provider.create(_spec())
        await provider.aclose()

    asyncio.run(check())


def test_left_over_directory() -> None:
    """A private directory that nobody uses any more is listed and removed, also when it holds locked directories."""

    async def check() -> None:
        provider = _provider()
        directory = _traces.make_directory(_spec(run_id="old"))
        locked = directory / "scratch" / "locked"
        locked.mkdir(parents=True)
        (locked / "file").touch()
        (directory / "link").symlink_to("/")
        locked.chmod(0o000)
        (ref,) = await provider.list("old")
        assert (ref.id, ref.name, ref.run_id) == (directory.name, "s", "old")
        await provider.attach(ref).terminate()
        assert not directory.parent.exists()
        await provider.aclose()

    asyncio.run(check())


@pytest.mark.skipif(sys.platform != "linux", reason="psutil is used there anyway")
def test_process_table_without_proc() -> None:
    """Where there is no /proc, psutil tells the same: this process's family, with parents and sessions."""
    with subprocess.Popen(["sleep", "600"]) as child:
        mine = (child.pid, os.getpid(), os.getsid(0))
        assert mine in _supervisor._process_table()
        assert mine in _supervisor._process_table_of_psutil()
        child.kill()
