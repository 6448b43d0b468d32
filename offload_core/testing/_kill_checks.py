"""Checks of `Process.kill`."""

from __future__ import annotations

import asyncio

from ..kit import run_command
from ._checks import Checks, drain, must, read_lines, shell

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


class KillChecks(Checks):
    """Killing one command of a sandbox, with everything it started, and nothing else."""

    def test_kill_reaches_grandchildren(self) -> None:
        """`kill` ends every descendant inside the sandbox, also daemons; other commands of the sandbox go on."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                bystander = await self.start(sandbox, "echo $$; exec sleep 600")
                (other,) = await self.succeeds(read_lines(bystander, 1), "output must arrive as it comes")
                process = await self.start(sandbox, _FAMILY)
                family = await self.succeeds(read_lines(process, 6), "output must arrive as it comes")
                await self.succeeds(process.kill(), "`kill` must return")

                async def over() -> bool:
                    return not any([await self.alive(sandbox, pid) for pid in family])

                await self.eventually(
                    over,
                    "`kill` must end all descendants of the command inside the sandbox, also those with a session "
                    "of their own or without a living parent",
                )
                must(await self.alive(sandbox, other), "`kill` must not touch other commands of the sandbox")
                ended = await self.succeeds(process.wait(), "`wait` must return after `kill`")
                must(not ended.ok, f"a killed command must not look as if it had ended well: {ended!r}")
                await bystander.kill()

        self.run(check())

    def test_kill_is_idempotent(self) -> None:
        """`kill` twice, at once, and after the end are no errors, and the exit stays what it was."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                process = await self.start(sandbox, "exec sleep 600")
                await self.succeeds(asyncio.gather(process.kill(), process.kill()), "two `kill` at once must return")
                await self.succeeds(process.kill(), "a second `kill` must return")
                process = await self.start(sandbox, "exit 3")
                before = await process.wait()
                await self.succeeds(process.kill(), "`kill` after the end must return")
                after = await process.wait()
                must(before == after, f"`kill` after the end must not change the exit: {before}, then {after}")
                must((await run_command(sandbox, shell("true"))).exit.ok, "the sandbox must go on after `kill`")

        self.run(check())

    def test_kill_of_what_blocks(self) -> None:
        """A process that waits for its output to be read can be killed, and its streams end."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                process = await self.start(sandbox, "cat /dev/zero")
                await self.succeeds(process.kill(), "`kill` must not need anybody to read the streams")
                await self.succeeds(process.wait(), "`wait` must return after `kill`")
                await self.succeeds(drain(process), "the streams must end after `kill`")

        self.run(check())

    def test_command_timeout(self) -> None:
        """A command that runs into its timeout is killed with its children."""

        async def check() -> None:
            async with self.sandbox() as sandbox:
                note = f"{sandbox.scratch}/pid"
                script = 'mkdir -p "$2"; sleep 600 & echo $! >"$1.new"; mv "$1.new" "$1"; wait'
                running = asyncio.create_task(run_command(sandbox, shell(script, note, str(sandbox.scratch))))

                async def started() -> bool:
                    return bool((await run_command(sandbox, shell('cat "$1" 2>/dev/null', note))).stdout.strip())

                await self.eventually(started, "the command must start")
                running.cancel()
                await self.succeeds(asyncio.wait({running}), "a cancelled `run` must return")
                pid = (await run_command(sandbox, shell('cat "$1"', note))).stdout.strip()

                async def over() -> bool:
                    return not await self.alive(sandbox, pid)

                await self.eventually(over, "a cancelled `run` must leave no process behind")

        self.run(check())
