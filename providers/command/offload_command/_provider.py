"""The provider of sandboxes that the user's commands make."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from typing_extensions import override

from offload_core.abc import (
    Context,
    CostEstimate,
    Finding,
    Health,
    Image,
    PrepareRequest,
    Provider,
    SandboxRef,
    SandboxSpec,
    Severity,
    Upload,
)
from offload_core.errors import CreateFailed, PrepareFailed, ProviderError
from offload_core.kit import BackgroundTasks, naming

from ._backend import CREATE, LIST, PREPARE, CommandBackend
from ._input_check import Patience
from ._options import CommandOptions
from ._sandbox import CommandSandbox
from ._state import SandboxState
from ._template import fill

_CLOSE_SECS = 20.0  # what is still being created when the run is over has so long to become something to destroy


class CommandProvider(Provider[CommandOptions]):
    """Sandboxes that the commands of the configuration make.

    Args:
        patience: how long it may take to find out what `exec_command` can do.
    """

    Options = CommandOptions
    contract = 2

    def __init__(self, options: CommandOptions, context: Context, patience: Patience | None = None) -> None:
        super().__init__(options, context)
        self._backend = CommandBackend(options, context, patience or Patience())
        self._creations = BackgroundTasks()
        self._abandoned: dict[str, asyncio.Task[CommandSandbox]] = {}
        self._states: dict[str, SandboxState] = {}
        self._copies: tuple[tuple[Path, PurePosixPath], ...] = ()

    @override
    async def prepare(self, request: PrepareRequest) -> Image | None:
        """By `prepare_command`. Without one, what is to be copied goes into each sandbox."""
        with naming("prepare", self):
            if self.options.prepare_command is None:
                self._prepare_copies(request)
            elif request.base is None:
                return await self._built(self.options.prepare_command, request)
        return Image(request.base) if request.base is not None else None

    async def _built(self, prepare_command: str, request: PrepareRequest) -> Image:
        words = [f"--copy-dir={pair}" for pair in self.options.copy_dirs]
        words += [f"--copy-dir={source}:{target}" for source, target in request.copy]
        words += [f"--sandbox-init-cmd={request.init}"] if request.init else []
        words += [f"--context-dir={request.context}"]
        line = f"{fill(prepare_command, {})} {shlex.join(words)}"
        env = {"OFFLOAD_NO_CACHE": "1"} if request.no_cache else {}
        done = await self._backend.run(PREPARE, line, env=env, progress=request.progress)
        lines = [text for line in done.stdout.decode(errors="replace").splitlines() if (text := line.strip())]
        if not lines:
            raise PrepareFailed("`prepare_command` must print the image's id as its last line; it printed nothing")
        return Image(lines[-1])

    def _prepare_copies(self, request: PrepareRequest) -> None:
        self._copies = (*(_copy(each, self.context) for each in self.options.copy_dirs), *request.copy)
        if missing := [str(source) for source, _ in self._copies if not source.exists()]:
            raise PrepareFailed(f"what is to be copied into sandboxes is not there: {', '.join(missing)}")
        if request.init:
            self.context.warn("sandbox_init_cmd has no effect: there is no `prepare_command`")

    @override
    async def create(self, spec: SandboxSpec) -> CommandSandbox:
        """Cancelled, the command goes on: what it makes is destroyed when it has made it.

        If the same sandbox is asked for again before that, as after a time-out, the same command is waited for.
        """
        making = self._abandoned.pop(spec.name, None)
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = self._creations.start(self._create(spec), f"create {spec.name}")

        async def discard(sandbox: CommandSandbox) -> None:
            if self._abandoned.get(spec.name) is making:
                del self._abandoned[spec.name]
                try:
                    await sandbox.terminate()
                except ProviderError as error:
                    self.context.warn(f"a sandbox that was no longer needed: {error}")

        try:
            with naming("create", self):
                return await self._creations.make(_outcome(making), discard)
        except asyncio.CancelledError:
            self._abandoned[spec.name] = making
            raise

    async def _create(self, spec: SandboxSpec) -> CommandSandbox:
        values = {
            "image_id": spec.image.id if spec.image else "",
            "cpu_cores": f"{self.options.cpu_cores:g}",
            "run_id": spec.run_id,
            "name": spec.name,
            "lifetime_secs": str(math.ceil(spec.lifetime)),
        }
        done = await self._backend.run(CREATE, fill(self.options.create_command, values))
        id = done.stdout.decode(errors="replace").strip()
        if not id:
            raise CreateFailed("`create_command` must print the sandbox's id; it printed nothing")
        ref = SandboxRef(id=id, run_id=spec.run_id, name=spec.name, expires=time.time() + spec.lifetime)
        env = {**self.options.env, **spec.env}
        state = self._states[id] = SandboxState(ref, self._backend.clients.tasks, env, made=True)
        sandbox = CommandSandbox(ref, self.context, self._backend, state)
        if self._copies:
            try:
                await sandbox.upload([Upload(source, target) for source, target in self._copies])
            except BaseException:
                await self._backend.destroy(state)
                raise
        state.cwd = spec.cwd  # which may be among what was copied
        return sandbox

    @override
    def attach(self, ref: SandboxRef) -> CommandSandbox:
        return CommandSandbox(ref, self.context, self._backend, self._state(ref))

    def _state(self, ref: SandboxRef) -> SandboxState:
        if ref.id not in self._states:
            tasks = self._backend.clients.tasks
            self._states[ref.id] = SandboxState(ref, tasks, self.options.env, self.context.sandbox_root)
        return self._states[ref.id]

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """By `list_command`; without one, what this object made and nobody saw end."""
        if self.options.list_command is None:
            refs = [state.ref for state in self._states.values() if state.made]
            return [ref for ref in refs if run_id is None or ref.run_id == run_id]
        with naming("list", self):
            done = await self._backend.run(LIST, fill(self.options.list_command, {"run_id": run_id or ""}))
        found = []
        for text in done.stdout.decode(errors="replace").splitlines():
            id, run, name, *_ = (*text.split(), "", "", "")
            if id and (run_id is None or run in ("", run_id)):
                found.append(SandboxRef(id=id, run_id=run or run_id or "", name=name))
                self._state(found[-1]).silent = False  # whatever is left of it, the backend has it
        return found

    @override
    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate | None:
        price = self.options.cost_per_cpu_second
        return None if price is None else CostEstimate(seconds * self.options.cpu_cores * price)

    @override
    async def check(self) -> Health:
        """None of the commands is run: they may cost money."""
        options = self.options
        findings = [Finding(Severity.OK, f"commands run in {self._backend.working_dir}")]
        if not self._backend.working_dir.is_dir():
            what = f"there is no directory {self._backend.working_dir}"
            findings = [Finding(Severity.ERROR, what, "set `working_dir` in `[provider]`")]
        if options.probe_command is None:
            what = "no `probe_command`: a sandbox that dies in silence is noticed only when a command in it fails"
            findings.append(Finding(Severity.WARNING, what, "add one, or let the others print OFFLOAD_SANDBOX_DEAD"))
        if options.list_command is None:
            what = "no `list_command`: after a `kill -9` of Offload, `offload reap` finds nothing"
            findings.append(Finding(Severity.WARNING, what, "add one, and use {run_id} in `create_command`"))
        return Health(tuple(findings))

    @override
    async def aclose(self) -> None:
        """What is still being created has some seconds to be destroyed again."""
        if not await self._creations.aclose(_CLOSE_SECS):
            self.context.warn("a `create_command` did not end and was killed; something may be left of a sandbox")
        await self._backend.clients.aclose()


async def _outcome(making: asyncio.Task[CommandSandbox]) -> CommandSandbox:
    return await asyncio.shield(making)


def _copy(text: str, context: Context) -> tuple[Path, PurePosixPath]:
    source, _, target = text.partition(":")
    return Path(context.project_dir, source).absolute(), (context.sandbox_root or PurePosixPath("/")) / target
