"""What becomes of commands that fail, hang, take long, or leave something behind; images, lists and probes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from attrs import evolve

from offload_core.abc import Command, Download, Image, LivenessStatus, PrepareRequest, SandboxRef, SandboxSpec, Upload
from offload_core.errors import (
    ConnectionLost,
    CreateFailed,
    DownloadFailed,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    UploadFailed,
)
from offload_core.kit import run_command
from offload_core.liveness import DeathWatch, Poller

SPEC = SandboxSpec(name="s", run_id="run")
STEPS = ("prepare", "create", "upload", "download", "list", "destroy")


async def do(provider: Any, step: str) -> None:
    """Bring one of the configured commands to work."""
    if step == "prepare":
        await provider.prepare(PrepareRequest(context=Path("/")))
    elif step == "list":
        await provider.list("run")
    else:
        sandbox = await provider.create(SPEC)
        file = sandbox.scratch / "file"
        match step:
            case "upload":
                await sandbox.upload([Upload(b"x", file)])
            case "download":
                await run_command(sandbox, Command(argv=("mkdir", "-p", str(file))))
                await sandbox.download([Download(file, Path("/nonexistent/file"))])
            case "destroy":
                await sandbox.terminate()


@pytest.mark.parametrize("step", STEPS)
async def test_a_time_out_kills_the_whole_tree(folders: Any, step: str) -> None:
    """Also children in sessions of their own; the error says how long it took and what had been written."""
    pids = folders.home / "pids"
    line = f"echo almost there >&2; setsid sleep 600 & echo $! $$ >>{pids}; sleep 600; :"
    async with folders.provider(timeout_secs=0.5, **{f"{step}_command": line}) as provider:
        with pytest.raises(OperationTimedOut, match=rf"`{step}_command` did not end in 0.5 s: almost there"):
            await do(provider, step)
        children = pids.read_text(encoding="utf-8").split()
        assert len(children) == 2
        assert not [pid for pid in children if folders.is_running(pid)]


@pytest.mark.parametrize(
    ("step", "cls"),
    [
        ("prepare", PrepareFailed),
        ("create", CreateFailed),
        ("upload", UploadFailed),
        ("download", DownloadFailed),
        ("list", ConnectionLost),
        ("destroy", ProviderError),
    ],
)
async def test_a_failure_holds_what_the_command_said(folders: Any, step: str, cls: type[ProviderError]) -> None:
    """Each is the error that it means, with the exit code and the standard error of the command."""
    async with folders.provider(**{f"{step}_command": "echo quota exceeded >&2; exit 5; :"}) as provider:
        with pytest.raises(cls, match=rf"`{step}_command`: exit code 5: quota exceeded") as caught:
            await do(provider, step)
        assert type(caught.value) is cls
        assert caught.value.provider == "command"


async def test_a_command_that_prints_no_id_has_failed(folders: Any) -> None:
    """An image or a sandbox without a name cannot be used."""
    async with folders.provider(prepare_command="echo; :", create_command="true") as provider:
        with pytest.raises(PrepareFailed, match="printed nothing"):
            await do(provider, "prepare")
        with pytest.raises(CreateFailed, match="printed nothing"):
            await do(provider, "create")


async def test_no_working_directory(folders: Any) -> None:
    """It is an error, which `check` finds, too; and `check` says what is missing to notice deaths and to reap."""
    async with folders.provider(working_dir="/no/such", probe_command=None, list_command=None) as provider:
        with pytest.raises(ProviderError, match=r"cannot start `create_command`.*/no/such"):
            await provider.create(SPEC)
        health = await provider.check()
        assert not health.ok
        assert [each.severity.value for each in health.findings] == ["error", "warning", "warning"]


async def test_what_a_command_leaves_running_holds_nothing_up(folders: Any) -> None:
    """A `create_command` may start something that stays and keeps the streams open; it is not killed either."""
    pid = folders.home / "pid"
    line = f"sleep 600 & echo $! >{pid}; echo box"
    async with folders.provider(create_command=line, list_command=None, destroy_command="true") as provider:
        sandbox = await asyncio.wait_for(provider.create(SPEC), 60)
        assert sandbox.ref.id == "box"
        number = pid.read_text(encoding="utf-8").strip()
        assert folders.is_running(number)
        await sandbox.terminate()
    assert folders.is_running(number)
    os.kill(int(number), signal.SIGKILL)


async def test_a_cancelled_create_destroys_what_it_made(folders: Any) -> None:
    """The command goes on to its end, because only then is it known what there is to destroy."""
    go = folders.home / "go"
    line = f"until [ -e {go} ]; do sleep 0.05; done; {folders.line('create', '{run_id} {name}')}"
    async with folders.provider(create_command=line) as provider:
        creating = asyncio.create_task(provider.create(SPEC))
        await asyncio.sleep(0)
        creating.cancel()
        await asyncio.wait({creating})
        assert creating.cancelled()
        go.touch()
    calls = folders.calls()
    (id,) = {id for verb, id in calls if verb == "create"}
    assert calls["destroy", id] == 1
    assert not folders.box(id).exists()


async def test_a_slow_create_is_waited_for_again(folders: Any) -> None:
    """What a call with a time limit gave up is what the next one for the same sandbox gets; nothing is made twice."""
    go = folders.home / "go"
    line = f"until [ -e {go} ]; do sleep 0.05; done; {folders.line('create', '{run_id} {name}')}"
    async with folders.provider(create_command=line) as provider:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(provider.create(SPEC), 0.1)
        creating = asyncio.create_task(provider.create(SPEC))
        await asyncio.sleep(0)
        go.touch()
        sandbox = await creating
        assert (await run_command(sandbox, Command(argv=("echo", "up")))).stdout == b"up\n"
        assert sum(number for (verb, _), number in folders.calls().items() if verb == "create") == 1
        await sandbox.terminate()
    assert folders.calls()["destroy", sandbox.ref.id] == 1


async def test_prepare_is_given_what_goes_into_the_image(folders: Any, tmp_path: Path) -> None:
    """By options after the user's own; its last line is the image, which sandboxes are created from."""
    told: list[str] = []
    create = folders.line("create", "{run_id} {name}") + " && echo {image_id} {cpu_cores} >" + str(tmp_path / "seen")
    provider = folders.provider(
        prepare_command='show() { printf "<%s>\\n" "$@" "$OFFLOAD_NO_CACHE"; }; echo building >&2; show mine',
        create_command=create,
        copy_dirs=("a b:c",),
        cpu_cores=0.5,
    )
    request = PrepareRequest(
        context=Path("/x y"),
        init="make 'it'",
        copy=((Path("/l"), PurePosixPath("/r")),),
        no_cache=True,
        progress=told.append,
    )
    async with provider:
        image = await provider.prepare(request)
        assert image == Image("<1>")
        options = ["<mine>", "<--copy-dir=a b:c>", "<--copy-dir=/l:/r>", "<--sandbox-init-cmd=make 'it'>"]
        assert sorted(told) == sorted([*options, "<--context-dir=/x y>", "<1>", "building"])
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run", image=image))
        assert (tmp_path / "seen").read_text(encoding="utf-8") == "<1> 0.5\n"
        assert await provider.prepare(PrepareRequest(context=Path("/"), base="given")) == Image("given")
        await sandbox.terminate()


async def test_without_prepare_what_is_to_be_copied_goes_into_each_sandbox(folders: Any, tmp_path: Path) -> None:
    """`copy_dirs` and `--copy-dir` do what they say there, too; an init command cannot be run, which is said."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content", encoding="utf-8")
    warnings: list[str] = []
    target = f"/tmp/offload-test-{tmp_path.name}"
    async with folders.provider(warn=warnings.append, copy_dirs=(f"{tmp_path}/tree:{target}/a",)) as provider:
        more = (tmp_path / "tree" / "file", PurePosixPath(target, "b"))
        assert await provider.prepare(PrepareRequest(context=Path("/"), init="make", copy=(more,))) is None
        assert [warning.split()[0] for warning in warnings] == ["sandbox_init_cmd"]
        spec = SandboxSpec(name="s", run_id="run", cwd=PurePosixPath(target, "a"))  # there only once it is copied
        sandbox = await provider.create(spec)
        done = await run_command(sandbox, Command(argv=("sh", "-c", f"cat file {target}/b; rm -r {target}")))
        assert done.stdout == b"contentcontent"
        await sandbox.terminate()
    async with folders.provider(copy_dirs=("/no/such:/x",)) as provider:
        with pytest.raises(PrepareFailed, match="/no/such"):
            await provider.prepare(PrepareRequest(context=Path("/")))


async def test_list(folders: Any) -> None:
    """What a line leaves out is filled in, other runs are left out; without a command it is what this object made."""
    async with folders.provider(list_command="printf 'a %s s1\\n\\n  b\\nc other s2\\n' {run_id}") as provider:
        found = await provider.list("run")
        assert [(ref.id, ref.run_id, ref.name) for ref in found] == [("a", "run", "s1"), ("b", "run", "")]
    async with folders.provider(list_command=None) as provider:
        sandbox = await provider.create(SPEC)
        assert await provider.list("run") == await provider.list() == [sandbox.ref]
        assert await provider.list("other") == []
        await sandbox.terminate()
        assert await provider.list() == []


async def test_a_probe_that_fails_is_unknown(folders: Any) -> None:
    """Only the sentinel means dead, and only exit code 0 means alive."""
    async with folders.sandbox(probe_command="echo no route >&2; exit 1") as sandbox:
        answer = await sandbox.probe()
        assert answer.status is LivenessStatus.UNKNOWN
        assert "no route" in answer.reason


async def test_what_is_watched_is_probed_once_in_an_interval(folders: Any) -> None:
    """Each time is a command of the user's, so whoever waits for a death does not probe beside the core's polling."""
    rounds = 0
    enough = asyncio.Event()
    async with evolve(folders, interval=0.5).provider() as provider:
        sandbox = await provider.create(SPEC)
        probe_many = provider.probe_many

        async def counted(refs: Any) -> Any:
            nonlocal rounds
            rounds += 1
            if rounds == 5:
                enough.set()
            return await probe_many(refs)

        provider.probe_many = counted
        async with Poller(provider) as poller, DeathWatch(sandbox, poller):
            await enough.wait()
        assert folders.calls()["probe", sandbox.ref.id] <= 5
        await sandbox.terminate()


async def test_without_probe_a_failed_command_raises_doubt(folders: Any) -> None:
    """Then one command tries the sandbox: it is alive if that runs, else dead; before that nothing is run for it."""
    async with folders.provider(probe_command=None) as provider:
        sandbox = await provider.create(SPEC)
        assert (await run_command(sandbox, Command(argv=("true",)))).exit.ok
        await sandbox.probe()  # the check of the input has ended with an exit code of its own
        before = folders.calls()["exec", sandbox.ref.id]
        assert (await sandbox.probe()).status is LivenessStatus.ALIVE
        assert folders.calls()["exec", sandbox.ref.id] == before
        assert not (await run_command(sandbox, Command(argv=("false",)))).exit.ok
        for _ in range(2):
            assert (await sandbox.probe()).status is LivenessStatus.ALIVE
        assert folders.calls()["exec", sandbox.ref.id] == before + 2
        stranger = provider.attach(SandboxRef(id="stranger"))
        assert (await stranger.probe()).status is LivenessStatus.UNKNOWN
        await sandbox.terminate()

    broken = folders.home / "broken"
    line = f"[ ! -e {broken} ] || {{ echo connection refused >&2; exit 255; }}; "
    line += folders.line("exec", "{sandbox_id} {command}")
    async with folders.provider(probe_command=None, exec_command=line) as provider:
        sandbox = await provider.create(SPEC)
        await run_command(sandbox, Command(argv=("true",)))
        broken.touch()
        assert not (await run_command(sandbox, Command(argv=("true",)))).exit.ok
        answer = await sandbox.probe()
        assert answer.is_dead
        assert "connection refused" in answer.reason
        await sandbox.terminate()
        assert folders.calls()["destroy", sandbox.ref.id] == 1
