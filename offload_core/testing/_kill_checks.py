"""Checks of `Process.kill`."""

from __future__ import annotations

import asyncio

from ..abc import Sandbox
from ._checks import Checks, drain, in_sandbox, must, noted, read_lines, run_shell

# A child, a grandchild that was orphaned, one in a session of its own, and one of each kind that cleared its
# environment: all print their ids. Where there is no setsid, the last are orphans only.
_FAMILY = """\
command -v setsid >/dev/null 2>&1 && setsid=setsid || setsid=
sh -c 'echo $$; exec sleep 600' &
(sh -c 'echo $$; exec sleep 600' &)
($setsid sh -c 'echo $$; exec sleep 600' </dev/null &)
($setsid sh -c 'echo $$; sleep 600 & wait' &)
env -i /bin/sh -c 'echo $$; exec sleep 600' &
echo $$
wait
"""

# A parent that waits for a child which takes its time to die: there are many of them.
_WITNESS = """\
mkdir -p "$1"; cd "$1" || exit 1
(
    for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 600 & done
    sh -c 'echo ready; exec sleep 600'
    echo seen >noted
) &
wait
"""


class KillChecks(Checks):
    """Killing one command of a sandbox, with everything it started, and nothing else."""

    @in_sandbox
    async def test_kill_reaches_grandchildren(self, sandbox: Sandbox) -> None:
        """`kill` ends every descendant inside the sandbox, also daemons; other commands of the sandbox go on."""
        bystander = await self.start(sandbox, "echo $$; exec sleep 600")
        (other,) = await self.succeeds(read_lines(bystander, 1), "output must arrive as it comes")
        process = await self.start(sandbox, _FAMILY)
        family = await self.succeeds(read_lines(process, 6), "output must arrive as it comes")
        await self.succeeds(process.kill(), "`kill` must return")
        await self.over(
            sandbox,
            family,
            "`kill` must end all descendants of the command inside the sandbox, also those with a session "
            "of their own or without a living parent",
        )
        must(await self.alive(sandbox, other), "`kill` must not touch other commands of the sandbox")
        ended = await self.succeeds(process.wait(), "`wait` must return after `kill`")
        must(not ended.ok, f"a killed command must not look as if it had ended well: {ended!r}")
        await bystander.kill()

    @in_sandbox
    async def test_kill_is_not_witnessed(self, sandbox: Sandbox) -> None:
        """No process goes on, for however short, after its child was killed: a test would pass then that hangs."""
        place = str(sandbox.scratch / "witness")
        for _ in range(3):
            process = await self.start(sandbox, _WITNESS, place)
            await self.succeeds(read_lines(process, 1), "output must arrive as it comes")
            await self.succeeds(process.kill(), "`kill` must return")
            told = await run_shell(sandbox, 'cat "$1/noted"; rm -r "$1"', place)
            must(not told.stdout, "`kill` must end parents before their children")

    @in_sandbox
    async def test_kill_is_idempotent(self, sandbox: Sandbox) -> None:
        """`kill` twice, at once, and after the end are no errors, and the exit stays what it was."""
        process = await self.start(sandbox, "exec sleep 600")
        await self.succeeds(asyncio.gather(process.kill(), process.kill()), "two `kill` at once must return")
        await self.succeeds(process.kill(), "a second `kill` must return")
        process = await self.start(sandbox, "exit 3")
        before = await process.wait()
        await self.succeeds(process.kill(), "`kill` after the end must return")
        after = await process.wait()
        must(before == after, f"`kill` after the end must not change the exit: {before}, then {after}")
        must((await run_shell(sandbox, "true")).exit.ok, "the sandbox must go on after `kill`")

    @in_sandbox
    async def test_kill_of_what_blocks(self, sandbox: Sandbox) -> None:
        """A process that waits for its output to be read can be killed, and its streams end."""
        process = await self.start(sandbox, "cat /dev/zero")
        await self.succeeds(process.kill(), "`kill` must not need anybody to read the streams")
        await self.succeeds(process.wait(), "`wait` must return after `kill`")
        await self.succeeds(drain(process), "the streams must end after `kill`")

    @in_sandbox
    async def test_command_timeout(self, sandbox: Sandbox) -> None:
        """A command that runs into its timeout is killed with its children."""
        note = f"{sandbox.scratch}/pid"
        script = 'mkdir -p "$2"; sleep 600 & echo $! >"$1.new"; mv "$1.new" "$1"; wait'
        running = asyncio.create_task(run_shell(sandbox, script, note, str(sandbox.scratch)))

        async def started() -> bool:
            return bool(await noted(sandbox, note))

        await self.eventually(started, "the command must start")
        running.cancel()
        await self.succeeds(asyncio.wait({running}), "a cancelled `run` must return")
        pid = await noted(sandbox, note)
        await self.over(sandbox, [pid], "a cancelled `run` must leave no process behind")
