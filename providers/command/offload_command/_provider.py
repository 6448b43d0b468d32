"""The provider of sandboxes that the user's commands make."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypedDict

from offload_core.abc import (
    Completed,
    Context,
    CostEstimate,
    Finding,
    Health,
    Image,
    Liveness,
    PrepareRequest,
    Provider,
    SandboxRef,
    SandboxSpec,
    Severity,
    Upload,
)
from offload_core.errors import (
    CreateFailed,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
)

from ._client import Clients
from ._input_check import InputCheck
from ._lifecycle import CREATE, DESTROY, LIST, PREPARE, Died, Step, finish, tail
from ._options import CommandOptions
from ._sandbox import CommandSandbox
from ._state import State
from ._template import fill

_CLOSE_SECS = 20.0  # what is still being created when the run is over has so long to become something to destroy


class Where(TypedDict):
    """Where an error happened; see `ProviderError`."""

    operation: str
    sandbox: str | None
    provider: str


class CommandProvider(Provider[CommandOptions]):
    """Runs the commands of the configuration on this machine; what they do is theirs to know."""

    Options = CommandOptions

    def __init__(self, options: CommandOptions, context: Context) -> None:
        super().__init__(options, context)
        self.input = InputCheck(context.warn)
        self._states: dict[str, State] = {}
        self._abandoned: dict[str, asyncio.Task[CommandSandbox]] = {}
        self._discarding: set[asyncio.Task[None]] = set()
        self._copies: tuple[tuple[Path, PurePosixPath], ...] = ()

    @cached_property
    def working_dir(self) -> Path:
        """Where the commands run on this machine."""
        return Path(self.context.project_dir, self.options.working_dir or "").resolve()

    @cached_property
    def clients(self) -> Clients:
        """What runs on this machine."""
        return Clients(self.working_dir)

    # -- images ---------------------------------------------------------------------------------------------------

    async def prepare(self, request: PrepareRequest) -> Image | None:
        """As the contract says: by `prepare_command`. Without one, what is to be copied goes into each sandbox."""
        if self.options.prepare_command is None:
            self._prepare_copies(request)
        if request.base is not None:
            return Image(request.base)
        if self.options.prepare_command is None:
            return None
        words = [f"--copy-dir={pair}" for pair in self.options.copy_dirs]
        words += [f"--copy-dir={source}:{target}" for source, target in request.copy]
        words += [f"--sandbox-init-cmd={request.init}"] if request.init else []
        words += [f"--context-dir={request.context}"]
        line = f"{fill(self.options.prepare_command, {})} {shlex.join(words)}"
        env = {"OFFLOAD_NO_CACHE": "1"} if request.no_cache else {}
        done = await self.run(PREPARE, line, env=env, progress=request.progress)
        lines = [text for line in done.stdout.decode(errors="replace").splitlines() if (text := line.strip())]
        if not lines:
            why = "`prepare_command` must print the image's id as its last line; it printed nothing"
            raise PrepareFailed(why, operation="prepare", provider=self.context.name)
        return Image(lines[-1])

    def _prepare_copies(self, request: PrepareRequest) -> None:
        self._copies = (*(_copy(each, self.context) for each in self.options.copy_dirs), *request.copy)
        missing = [str(source) for source, _ in self._copies if not source.exists()]
        if missing:
            why = f"what is to be copied into sandboxes is not there: {', '.join(missing)}"
            raise PrepareFailed(why, operation="prepare", provider=self.context.name)
        if request.init:
            self.context.warn("sandbox_init_cmd has no effect: there is no `prepare_command`")

    # -- sandboxes ------------------------------------------------------------------------------------------------

    async def create(self, spec: SandboxSpec) -> CommandSandbox:
        """As the contract says. Cancelled, the command goes on: what it makes is destroyed when it has made it.

        If the same sandbox is asked for again before that, as after a time-out, the same command is waited for.
        """
        making = self._abandoned.pop(spec.name, None)
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = asyncio.create_task(self._create(spec), name=f"create {spec.name}")
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            self._abandoned[spec.name] = making
            task = self.clients.keep(self._discarded(spec.name, making))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)
            raise

    async def _discarded(self, name: str, making: asyncio.Task[CommandSandbox]) -> None:
        try:
            await asyncio.wait({making})
        except asyncio.CancelledError:
            making.cancel()
            await asyncio.wait({making})
            raise
        if self._abandoned.get(name) is making:
            del self._abandoned[name]
            try:
                await making.result().terminate()
            except ProviderError as error:
                self.context.warn(f"a sandbox that was no longer needed: {error}")

    async def _create(self, spec: SandboxSpec) -> CommandSandbox:
        values = {
            "image_id": spec.image.id if spec.image else "",
            "cpu_cores": f"{self.options.cpu_cores:g}",
            "run_id": spec.run_id,
            "name": spec.name,
            "lifetime_secs": str(math.ceil(spec.lifetime)),
        }
        done = await self.run(CREATE, fill(self.options.create_command, values))
        id = done.stdout.decode(errors="replace").strip()
        if not id:
            why = "`create_command` must print the sandbox's id; it printed nothing"
            raise CreateFailed(why, operation="create", provider=self.context.name)
        ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, expires=time.time() + spec.lifetime)
        state = State(ref, self.clients, {**self.options.env, **spec.env}, made=True)
        self._states[id] = state
        sandbox = CommandSandbox(self, ref, state)
        if self._copies:
            try:
                await sandbox.upload([Upload(source, target) for source, target in self._copies])
            except BaseException:
                await self.destroy(state)
                raise
        state.cwd = spec.cwd  # which may be among what was copied
        return sandbox

    def attach(self, ref: SandboxRef) -> CommandSandbox:
        """As the contract says."""
        return CommandSandbox(self, ref, self._state(ref))

    def _state(self, ref: SandboxRef) -> State:
        return self._states.setdefault(
            ref.id, State(ref, self.clients, dict(self.options.env), self.context.sandbox_root)
        )

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """As the contract says: by `list_command`; without one, what this object made and nobody saw end."""
        if self.options.list_command is None:
            refs = [state.ref for state in self._states.values() if state.made]
            return [ref for ref in refs if run_id is None or ref.run_id == run_id]
        done = await self.run(LIST, fill(self.options.list_command, {"run_id": run_id or ""}))
        found = []
        for text in done.stdout.decode(errors="replace").splitlines():
            id, run, name, *_ = (*text.split(), "", "", "")
            if id and (run_id is None or run in ("", run_id)):
                found.append(SandboxRef(id=id, run_id=run or run_id or "", name=name))
                self._state(found[-1]).silent = False  # whatever is left of it, the backend has it
        return found

    async def destroy(self, state: State) -> None:
        """End a sandbox by `destroy_command`. Idempotent; what said that it is dead is left alone.

        Raises:
            ProviderError: it may still be there.
        """
        async with state.ending:
            await state.quiet()  # first of all what could still start something in it
            if not state.silent and not state.destroyed:
                try:
                    await self.run(DESTROY, fill(self.options.destroy_command, {"sandbox_id": state.ref.id}), state)
                except SandboxDead:
                    pass
                state.destroyed = True
            state.made = False
            state.die("it was terminated")
            await state.quiet()

    async def probe(self, state: State) -> Liveness:
        """Ask by `probe_command`; the caller bounds it."""
        assert self.options.probe_command is not None
        line = fill(self.options.probe_command, {"sandbox_id": state.ref.id})
        try:
            done = await finish(self.clients, line, None)
        except Died as died:
            state.said_dead(str(died))
        if state.dead.done():
            return state.dead.result()
        if done.exit.ok:
            return Liveness.alive()
        return Liveness.unknown(f"`probe_command`: {done.exit}: {tail(done.stderr)}")

    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate | None:
        """As the contract says: by the configured price."""
        price = self.options.cost_per_cpu_second
        return None if price is None else CostEstimate(seconds * self.options.cpu_cores * price)

    # -- running commands -----------------------------------------------------------------------------------------

    async def run(
        self,
        step: Step,
        line: str,
        state: State | None = None,
        *,
        env: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> Completed:
        """Run one of the commands to its end.

        Args:
            state: of the sandbox that it is on.
            env: on top of Offload's own environment.
            progress: called with each line that it writes.

        Raises:
            SandboxDead: it said so. OperationTimedOut: it took longer than `timeout_secs`.
            ProviderError: of the step's own class; holds what the command wrote.
        """
        where = Where(operation=step.operation, sandbox=state.ref.id if state else None, provider=self.context.name)
        try:
            done = await finish(self.clients, line, self.options.timeout_secs, env, progress)
        except Died as died:
            if state is not None:
                state.said_dead(str(died))
            raise SandboxDead(str(died), **where) from None
        except TimeoutError as error:
            why = f"`{step.key}` did not end in {self.options.timeout_secs:g} s"
            raise OperationTimedOut(f"{why}: {error}" if str(error) else why, **where) from None
        except (OSError, ValueError) as error:
            raise ProviderError(f"cannot start `{step.key}`: {error}", **where) from error
        if not done.exit.ok:
            if state is not None:
                state.doubted = True
            said = tail(done.stderr) or tail(done.stdout)
            raise step.failure(f"`{step.key}`: {done.exit}{': ' if said else ''}{said}", **where)
        return done

    async def check(self) -> Health:
        """As the contract says. None of the commands is run: they may cost money."""
        options = self.options
        findings = [Finding(Severity.OK, f"commands run in {self.working_dir}")]
        if not self.working_dir.is_dir():
            what = f"there is no directory {self.working_dir}"
            findings = [Finding(Severity.ERROR, what, "set `working_dir` in `[provider]`")]
        if options.probe_command is None:
            what = "no `probe_command`: a sandbox that dies in silence is noticed only when a command in it fails"
            findings.append(Finding(Severity.WARNING, what, "add one, or let the others print OFFLOAD_SANDBOX_DEAD"))
        if options.list_command is None:
            what = "no `list_command`: after a `kill -9` of Offload, `offload reap` finds nothing"
            findings.append(Finding(Severity.WARNING, what, "add one, and use {run_id} in `create_command`"))
        return Health(tuple(findings))

    async def aclose(self) -> None:
        """As the contract says. What is still being created has some seconds to be destroyed again."""
        if self._discarding:
            _, late = await asyncio.wait(self._discarding, timeout=_CLOSE_SECS)
            for task in late:
                task.cancel()
                self.context.warn("a `create_command` did not end and was killed; something may be left of a sandbox")
        await super().aclose()
        await self.clients.aclose()


def _copy(text: str, context: Context) -> tuple[Path, PurePosixPath]:
    source, _, target = text.partition(":")
    return Path(context.project_dir, source).absolute(), (context.sandbox_root or PurePosixPath("/")) / target
