"""Checks of termination, of finding sandboxes again, and of many at once."""

from __future__ import annotations

import asyncio

from ..abc import Sandbox, SandboxRef
from ._checks import Checks, check, in_sandbox, must, new_run, run_shell


class EndChecks(Checks):
    """Nothing is left behind, and what is left by others can be found and ended."""

    @check
    async def test_terminate(self) -> None:
        """`terminate` ends a sandbox; twice, at once, of what is dead or never was: all of these are success."""
        async with self.provider() as provider:
            run = new_run()
            first = await self.create(provider, run_id=run)
            second = await self.create(provider, run_id=run)
            await self.succeeds(asyncio.gather(first.terminate(), first.terminate()), "`terminate` must return")
            await self.succeeds(first.terminate(), "a second `terminate` must succeed")
            await self.kill_sandbox(second)
            await self.succeeds(second.terminate(), "`terminate` of a dead sandbox must succeed")
            for sandbox in (first, second):
                answer = await sandbox.probe()
                must(answer.is_dead, f"after `terminate`, `probe` must say dead: {answer}")
                attached = provider.attach(sandbox.ref)
                await self.succeeds(attached.terminate(), "`terminate` of what is gone must succeed")
            failed = await provider.terminate_many([first.ref, second.ref])
            must(failed == {}, f"`terminate_many` of what is gone must return nothing: {failed}")
            must(not await provider.list(run), "what was terminated must not be listed")

    @in_sandbox
    async def test_terminate_while_busy(self, sandbox: Sandbox) -> None:
        """A sandbox with running commands and unread output can be terminated."""
        await self.start(sandbox, "cat /dev/zero")
        await self.succeeds(sandbox.terminate(), "`terminate` must not wait for anybody to read")

    @check
    async def test_list(self) -> None:
        """`list` shows all living sandboxes of a run, and of all runs, with their labels."""
        async with self.provider() as provider:
            one, two = new_run(), new_run()
            made = {run: [await self.create(provider, run_id=run) for _ in range(2)] for run in (one, two)}
            for run, sandboxes in made.items():
                refs = {sandbox.ref for sandbox in sandboxes}
                listed = await provider.list(run)
                must(set(listed) == refs, f"`list(run_id)` must show the run's sandboxes, and no other: {listed}")
                must(len(listed) == 2, f"`list` must show each sandbox once: {listed}")
                labels = {ref.run_id for ref in listed}
                must(labels <= {run, ""}, f"a listed reference must carry its run: {labels} for {run}")
                must(refs <= set(await provider.list()), "`list()` must show the sandboxes of all runs")
            must(not await provider.list(new_run()), "`list` of a run without sandboxes must be empty")
            await made[one][0].terminate()
            listed = await provider.list(one)
            must(set(listed) == {made[one][1].ref}, f"what was terminated must not be listed: {listed}")
            await provider.terminate_many(await provider.list(one))
            await provider.terminate_many(await provider.list(two))

    @check
    async def test_attach(self) -> None:
        """Another provider object finds a sandbox, sees whether it lives, and can end it: `offload reap` does that."""
        async with self.provider() as maker, self.provider() as other:
            run = new_run()
            sandbox = await self.create(maker, run_id=run)
            (ref,) = await other.list(run)
            must(ref == sandbox.ref, f"references to one sandbox must be equal: {ref} and {sandbox.ref}")
            attached = other.attach(ref)
            must((await attached.probe()).status == "alive", "`probe` of an attached sandbox must say that it lives")
            both = asyncio.gather(attached.wait_dead(), sandbox.wait_dead())
            failed = await self.succeeds(other.terminate_many([ref]), "`terminate_many` must return")
            must(failed == {}, f"`terminate_many` must end what another process made: {failed}")
            await self.succeeds(both, "`wait_dead` must return when another process ended the sandbox")
            must(not await maker.list(run), "what was terminated must not be listed")
            await sandbox.terminate()

    @check
    async def test_create_cancelled(self) -> None:
        """A cancelled `create` leaves no sandbox, at whatever moment it is cancelled."""
        async with self.provider() as provider:
            for moment in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
                run = new_run()
                creating = self.create(provider, run_id=run)
                ended = await self.cancelled(creating, moment, "a cancelled `create` must return")
                if not ended.cancelled():
                    await ended.result().terminate()
                await self.nothing_left(provider, run, "a cancelled `create` must leave no sandbox")

    @check
    async def test_many_at_once(self) -> None:
        """Fifty sandboxes (`at_once`) are made, used and ended at the same time, none in the way of another."""
        many = self.at_once
        async with self.provider() as provider:
            run = new_run()
            creating = (self.create(provider, run_id=run, name=f"check-{number}") for number in range(many))
            sandboxes = await asyncio.gather(*creating)
            must(len({sandbox.ref for sandbox in sandboxes}) == many, "each sandbox must have an id of its own")
            must(len(await provider.list(run)) == many, "`list` must show all sandboxes of a run")
            for script in ('mkdir -p "$1"; echo "$2" >"$1/own"', 'cat "$1/own"'):
                running = (
                    run_shell(sandbox, script, str(sandbox.scratch), str(number))
                    for number, sandbox in enumerate(sandboxes)
                )
                done = await self.succeeds(asyncio.gather(*running), "all must be able to run commands at once")
            told = [int(each.stdout) for each in done]
            must(told == list(range(many)), f"`scratch` must be each sandbox's own: {told}")
            refs = [sandbox.ref for sandbox in sandboxes]
            alive = await provider.probe_many(refs)
            must(set(alive) == set(refs), "`probe_many` must answer for each sandbox it was asked about")
            must(not any(answer.is_dead for answer in alive.values()), f"`probe_many` must say alive: {alive}")
            failed = await self.succeeds(provider.terminate_many(refs), "`terminate_many` must return")
            must(failed == {}, f"`terminate_many` must end them all: {failed}")
            await self.nothing_left(provider, run, "`terminate_many` must leave no sandbox")

    @check
    async def test_unknown_sandbox(self) -> None:
        """A reference to what never was is dead or unknown, and terminating it is success."""
        async with self.provider() as provider:
            sandbox = await self.create(provider)
            stranger = SandboxRef(id=f"{sandbox.ref.id[:-4]}0000", where=sandbox.ref.where)
            await sandbox.terminate()
            answer = (await provider.probe_many([stranger]))[stranger]
            must(answer.status != "alive", f"a sandbox that is not there must not be called alive: {answer}")
            failed = await provider.terminate_many([stranger])
            must(failed == {}, f"`terminate_many` of what is not there must be success: {failed}")
