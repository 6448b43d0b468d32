"""The loopback server keeps what its README says, seen through the real SDK, with both generations of calls."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import modal
import pytest
from loopback import Loopback
from through_sdk import BOUND_SECS, new_app, new_sandbox, output, until

pytestmark = pytest.mark.usefixtures("generation")


async def test_generation_of_ids(loopback: Loopback, generation: str) -> None:
    """The SDK tells the generation by the id: the server's ids are those that it expects."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        assert (len(sandbox.object_id) == len("sb-") + 22) is (generation == "v1")
        same = await modal.Sandbox.from_id.aio(sandbox.object_id)
        assert await output(same, "echo", "hello") == "hello\n"
        assert loopback.calls(sandbox.object_id)["SandboxWait" if generation == "v1" else "SandboxWaitV2"] >= 1


async def test_exec_streams_and_code(loopback: Loopback) -> None:
    """A command has its stdin, its two streams apart, its directory, its variables and its exit code."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox(env={"FROM_CREATE": "one"})
        script = "cat; echo $FROM_CREATE $FROM_EXEC; pwd; echo bad >&2; exit 3"
        process = await sandbox.exec.aio("sh", "-c", script, workdir="/usr", env={"FROM_EXEC": "two"})
        process.stdin.write("first\n")
        await process.stdin.drain.aio()
        process.stdin.write("second\n")
        process.stdin.write_eof()
        await process.stdin.drain.aio()
        assert await process.stdout.read.aio() == "first\nsecond\none two\n/usr\n"
        assert await process.stderr.read.aio() == "bad\n"
        assert await process.wait.aio() == 3
        killed = await sandbox.exec.aio("sh", "-c", "kill -9 $$")
        assert await killed.wait.aio() == 128 + 9


async def test_exec_is_streamed(loopback: Loopback) -> None:
    """What a command writes arrives while it runs, and it is answered."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        process = await sandbox.exec.aio("sh", "-c", "echo ready; read line; echo got $line", bufsize=1)
        lines = aiter(process.stdout)
        assert await anext(lines) == "ready\n"
        assert await process.poll.aio() is None
        process.stdin.write("it\n")
        await process.stdin.drain.aio()
        assert [line async for line in lines] == ["got it\n"]
        assert await process.wait.aio() == 0


async def test_much_binary_data(loopback: Loopback) -> None:
    """Megabytes of any bytes pass through stdin and stdout unchanged."""
    data = os.urandom(3 << 20)
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        process = await sandbox.exec.aio("cat", text=False)

        async def feed() -> None:
            for start in range(0, len(data), 1 << 20):
                process.stdin.write(data[start : start + (1 << 20)])
                await process.stdin.drain.aio()
            process.stdin.write_eof()
            await process.stdin.drain.aio()

        _, back = await asyncio.gather(feed(), process.stdout.read.aio())
        assert back == data


async def test_file_systems_are_apart(loopback: Loopback) -> None:
    """What one sandbox writes, anywhere, neither another one nor the machine sees."""
    mark = f"mark-{uuid.uuid4()}"
    paths = [f"/tmp/{mark}", f"/usr/bin/{mark}", f"/etc/{mark}", f"/root/{mark}"]
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        one, other = await asyncio.gather(new_sandbox(app=app), new_sandbox(app=app))
        await output(one, "sh", "-c", 'for p; do echo x > "$p"; done; rm /etc/passwd', "sh", *paths)
        found = await output(
            other, "sh", "-c", 'for p; do test ! -e "$p" || echo "$p"; done; ls /etc/passwd', "sh", *paths
        )
        assert found == "/etc/passwd\n"
    assert not any(map(os.path.exists, paths))


async def test_data_of_the_machine_is_hidden(loopback: Loopback, tmp_path: Path) -> None:
    """A sandbox sees the machine's programs, not its temporary files and not its processes."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        script = "ls -A /tmp /dev/shm; test ! -e $0 || echo leaked; ls -d /proc/[0-9]* | wc -l"
        lines = (await output(sandbox, "sh", "-c", script, str(tmp_path))).split()
        assert lines[:2] == ["/dev/shm:", "/tmp:"]
        assert "leaked" not in lines
        assert int(lines[-1]) < 10


async def test_processes_die_with_the_sandbox(loopback: Loopback) -> None:
    """Terminating ends every process, one that left its session too, and none outlives it."""
    mark = f"7{uuid.uuid4().int % 10**8:08d}"

    def running() -> int:
        return sum(_arguments(process) == ["sleep", mark] for process in Path("/proc").glob("[0-9]*"))

    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox()
        await output(sandbox, "sh", "-c", f"setsid sleep {mark} > /dev/null 2>&1 & echo started")
        await sandbox.exec.aio("sleep", mark)
        await until(lambda: running() == 2)
        await sandbox.terminate.aio()
        assert await sandbox.poll.aio() == 137
        assert running() == 0


def _arguments(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []  # it has just ended


async def test_list_and_tags(loopback: Loopback) -> None:
    """A list has the living sandboxes of its app, by tag too, over more than one page."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        await new_sandbox()
        made = [await new_sandbox(app=app, tags={"run": "a", "n": str(number)}) for number in range(3)]
        await made[1].set_tags.aio({"run": "b"})
        assert await made[1].get_tags.aio() == {"run": "b"}
        await made[2].terminate.aio()
        listed = [each.object_id async for each in modal.Sandbox.list.aio(app_id=app.app_id)]
        assert listed == [made[1].object_id, made[0].object_id]
        tagged = [each.object_id async for each in modal.Sandbox.list.aio(app_id=app.app_id, tags={"run": "a"})]
        assert tagged == [made[0].object_id]


async def test_own_command_ends(loopback: Loopback) -> None:
    """A sandbox ends with its own command, and its exit code is the sandbox's."""
    async with asyncio.timeout(BOUND_SECS):
        good, bad = await asyncio.gather(new_sandbox("true"), new_sandbox("sh", "-c", "exit 7"))
        await asyncio.gather(good.wait.aio(), bad.wait.aio())
        assert (good.returncode, bad.returncode) == (0, 7)
        with pytest.raises(modal.exception.Error):
            await good.exec.aio("true")


async def test_lifetime_is_enforced(loopback: Loopback) -> None:
    """A sandbox whose time is over is killed, and the SDK says that it timed out."""
    async with asyncio.timeout(BOUND_SECS):
        sandbox = await new_sandbox(timeout=1)
        with pytest.raises(modal.exception.SandboxTimeoutError):
            await sandbox.wait.aio()
        assert await sandbox.poll.aio() == 124


async def test_idle_timeout_is_enforced(loopback: Loopback) -> None:
    """A sandbox in which nothing was run for its idle timeout is killed; one that is busy lives on."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        idle, busy = await asyncio.gather(new_sandbox(app=app, idle_timeout=1), new_sandbox(app=app, idle_timeout=1))
        await busy.exec.aio("sleep", "600")
        await idle.wait.aio(raise_on_termination=False)
        assert await idle.poll.aio() == 137
        assert await busy.poll.aio() is None


async def test_abandoned_create(loopback: Loopback) -> None:
    """A create whose caller left is finished all the same: the list, not the caller, knows the sandbox."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        await new_sandbox(app=app)
        before = len(loopback.sandboxes())
        creating = asyncio.create_task(new_sandbox(app=app, tags={"left": "yes"}))
        await until(lambda: len(loopback.sandboxes()) > before)
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)
        listed = [each async for each in modal.Sandbox.list.aio(app_id=app.app_id, tags={"left": "yes"})]
        assert len(listed) == 1
        assert await output(listed[0], "echo", "there") == "there\n"
