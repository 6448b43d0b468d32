"""A local sandbox leaves nothing behind, whoever dies first: Offload, the supervisor, or both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
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


def _supervisors(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if "OFFLOAD_SUPERVISOR" in process.environ()]


def _tree(directory: Path) -> list[psutil.Process]:
    """The processes of the one sandbox there is, its supervisor first."""
    (supervisor,) = _supervisors(_marked(directory))
    return [supervisor, *supervisor.children(recursive=True)]


def _gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; whoever inherits an orphan may reap it later."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


async def test_terminate_ends_everything(temporary: Path) -> None:
    """`terminate` ends daemons and what cleared its environment, and has ended them when it returns."""
    async with _provider() as provider:
        sandbox = await provider.create(_spec())
        await _family(sandbox)
        processes = _tree(temporary)
        assert len(processes) >= 6
        await sandbox.terminate()
        assert _gone(processes)


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
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.contextmanager
def _offload(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """An Offload with three busy sandboxes: its process, and all processes of theirs."""
    family = FAMILY.replace("env -i", "")  # what has neither a mark nor anybody left who knows it cannot be found
    with subprocess.Popen([sys.executable, "-c", OFFLOAD, family], stdout=subprocess.PIPE) as offload:
        assert offload.stdout
        assert offload.stdout.readline() == b"ready\n"
        supervisors = _supervisors(_marked(directory))
        processes = [child for each in supervisors for child in (each, *each.children(recursive=True))]
        assert len(processes) >= 18
        try:
            yield offload, processes
        finally:
            offload.kill()


def test_nothing_survives_a_kill_of_offload(temporary: Path) -> None:
    """After `kill -9` of Offload its sandboxes end by themselves, with daemons and directories."""
    with _offload(temporary) as (offload, processes):
        assert list(temporary.glob("offload-*/killed/*"))
        offload.kill()
    _until(lambda: _gone(processes))
    _until(lambda: not list(temporary.glob("offload-*/*")))


async def test_reap_after_everything_was_killed(temporary: Path) -> None:
    """What survives when Offload and all supervisors are killed at once is listed and ended by another process."""
    with _offload(temporary) as (offload, processes):
        supervisors = _supervisors(processes)
        assert len(supervisors) == 3
        for process in supervisors:
            process.suspend()
        offload.kill()
        for process in supervisors:
            process.kill()
    async with _provider() as provider:
        refs = await provider.list("killed")
        assert len(refs) == 3
        assert all(answer.is_dead for answer in (await provider.probe_many(refs)).values())
        assert await provider.terminate_many(refs) == {}
        assert await provider.list("killed") == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
async def test_commands_die_with_the_supervisor(temporary: Path) -> None:
    """When only the supervisor is killed, its commands die with it, and the rest is swept up. The signal is named."""
    async with _provider() as provider:
        sandbox = await provider.create(_spec())
        process = await _family(sandbox)
        processes = _tree(temporary)
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


async def test_lifetime_says_so() -> None:
    """The reason of a death by lifetime is in words, and the commands it ended are not blamed."""
    async with _provider() as provider:
        sandbox = await provider.create(_spec(lifetime=0.3))
        process = await sandbox.exec(Command(argv=("sleep", "600")))
        with pytest.raises(SandboxDead, match=r"lifetime of 0\.3 s"):
            await process.wait()


async def test_supervisor_ends_by_sigterm(temporary: Path) -> None:
    """A supervisor that is asked to end by SIGTERM ends everything first."""
    async with _provider() as provider:
        sandbox = await provider.create(_spec())
        await _family(sandbox)
        processes = _tree(temporary)
        processes[0].terminate()
        assert "signal" in (await asyncio.wait_for(sandbox.wait_dead(), WITHIN)).reason
    assert _gone(processes)


async def test_kill_knows_whose_a_daemon_is(temporary: Path) -> None:
    """Killing one command leaves the daemons of another alone, and takes its own, even those without a mark."""
    async with _provider() as provider:
        sandbox = await provider.create(_spec())
        first = await _family(sandbox)
        ours = _tree(temporary)[1:]
        second = await _family(sandbox)
        theirs = [each for each in _tree(temporary)[1:] if each not in ours]
        await first.kill()
        assert _gone(ours)
        assert not any(_gone([each]) for each in theirs)
        script = "(setsid env -i sleep 600 </dev/null >/dev/null 2>&1 &) ; echo ready; exec sleep 600"
        await second.kill()
        third = await sandbox.exec(Command(argv=("sh", "-c", script)))
        await anext(third.stdout)
        last = _tree(temporary)[1:]
        await third.kill()
        assert _gone(last)
        await sandbox.terminate()


async def test_many_sandboxes_need_few_threads() -> None:
    """A hundred sandboxes live at once, and cost no thread each."""
    import threading

    async with _provider() as provider:
        before = threading.active_count()
        sandboxes = await asyncio.gather(*(provider.create(_spec(name=f"s{n}")) for n in range(100)))
        assert threading.active_count() <= before + 2
        assert await provider.terminate_many([sandbox.ref for sandbox in sandboxes]) == {}


async def test_broken_supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter that does not start is CreateFailed with what it printed, and leaves nothing."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such library >&2; exit 3\n")
    broken.chmod(0o755)
    async with _provider() as provider:
        for executable, words in ((str(broken), "no such library"), ("/no/such/python", "cannot start")):
            monkeypatch.setattr(sys, "executable", executable)
            with pytest.raises(CreateFailed, match=words):
                await provider.create(_spec())


async def test_no_working_directory() -> None:
    """A working directory that is not there is NotFound, which is not retried; `check` says it, too."""
    async with _provider(working_dir="no/such") as provider:
        with pytest.raises(NotFound, match="working_dir") as caught:
            await provider.create(_spec())
        assert not provider.is_retryable(caught.value)
        health = await provider.check()
        assert not health.ok


async def test_somebody_elses_directory(temporary: Path) -> None:
    """If others can write where the private directories have to be, nothing is made there."""
    base = _traces.base()
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    async with _provider() as provider:
        with pytest.raises(CreateFailed, match="only you"):
            await provider.create(_spec())


async def test_left_over_directory() -> None:
    """A private directory that nobody uses any more is listed and removed, also when it holds locked directories."""
    async with _provider() as provider:
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


async def test_a_directory_of_another_run_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs at the same time do not disturb each other: what goes while one of them looks is not there for it."""
    private = _traces.make_directory(_spec(run_id="other"))
    other = private.parent
    stays = _traces.make_directory(_spec(run_id="this"))

    def vanishing(look: Callable[..., object]) -> Callable[..., object]:
        def looking(path: str | Path = ".") -> object:
            if path in (other, str(other)) and private.exists():
                private.rmdir()
                other.rmdir()
            return look(path)

        return looking

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, vanishing(getattr(os, name)))
    async with _provider() as provider:
        (ref,) = await provider.list("this")
        assert ref.id == stays.name
        assert await provider.terminate_many([ref]) == {}
    assert not other.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="psutil is used there anyway")
def test_process_table_without_proc() -> None:
    """Where there is no /proc, psutil tells the same: this process's family, with parents and sessions."""
    with subprocess.Popen(["sleep", "600"]) as child:
        mine = (child.pid, os.getpid(), os.getsid(0))
        assert mine in _supervisor.process_table()
        assert mine in _supervisor.process_table_of_psutil()
        child.kill()
