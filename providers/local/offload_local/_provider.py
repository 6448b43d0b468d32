"""The provider of sandboxes on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from offload_core.abc import Context, Finding, Health, Liveness, Provider, SandboxRef, SandboxSpec, Severity
from offload_core.errors import CreateFailed, NotFound, ProviderError
from offload_core.kit import inherited_environment

from . import _limits, _traces
from ._copy import Copier
from ._files import in_thread
from ._link import Link, start
from ._options import LocalOptions
from ._sandbox import LocalSandbox, Made
from ._supervisor import SANDBOX_MARK, SUPERVISOR_MARK

_END_SECS = 20.0  # the supervisor itself gives up after 10
_FREE_BYTES = 1 << 30


class LocalProvider(Provider[LocalOptions]):
    """Sandboxes that are process trees on this machine, each under a supervising process of its own."""

    Options = LocalOptions
    needs_sandbox_root = False

    def __init__(self, options: LocalOptions, context: Context) -> None:
        super().__init__(options, context)
        self._made: dict[str, Made] = {}
        self._endings: dict[str, asyncio.Task[str]] = {}
        self._copier: asyncio.Future[Copier] | None = None

    @cached_property
    def working_dir(self) -> Path:
        """Where commands run on this machine, and what `isolation = "copy"` copies."""
        return Path(self.context.project_dir, self.options.working_dir or "").resolve()

    async def create(self, spec: SandboxSpec) -> LocalSandbox:
        """As the contract says. Besides: NotFound if there is no such working directory."""
        if sys.platform == "win32":
            raise NotFound("local sandboxes need Linux or macOS", operation="create", provider=self.context.name)
        try:
            return await self._create(spec)
        except ProviderError as error:
            error.operation, error.provider = "create", self.context.name
            raise

    async def _create(self, spec: SandboxSpec) -> LocalSandbox:
        if not self.working_dir.is_dir():
            raise NotFound(f"there is no directory {self.working_dir}: set `working_dir` in `[provider]`")
        usual = _limits.usual()
        _limits.allow(self.context.max_parallel)
        directory = _traces.make_directory(spec)
        copied = self.options.isolation == "copy"
        root = directory / "copy" / self.working_dir.name if copied else self.working_dir
        expires = time.time() + spec.lifetime
        ref = SandboxRef(id=directory.name, run_id=spec.run_id, name=spec.name, expires=expires)
        try:
            (directory / "scratch").mkdir()
            link = start(self._environment(spec, ref, directory, root), directory, spec.lifetime, usual)
        except BaseException:
            _traces.remove_directory(directory)
            raise
        made = self._made[ref.id] = Made(link, directory, root, Path(spec.cwd) if spec.cwd else root)
        link.gone.add_done_callback(lambda _: self._ending(ref.id, made))
        try:
            await _settled(link)
            if copied and not link.gone.done():
                await self._copy(root)
            _check_alive(link)
        except BaseException:
            await self._ended([ref.id])
            raise
        return LocalSandbox(self, ref, made)

    def _environment(self, spec: SandboxSpec, ref: SandboxRef, directory: Path, root: Path) -> dict[str, str]:
        return {
            **inherited_environment(),
            **self.options.env,
            **spec.env,
            "OFFLOAD_ROOT": str(root),
            SANDBOX_MARK: ref.id,
            SUPERVISOR_MARK: "1",
            _traces.RUN_MARK: spec.run_id,
            _traces.DIRECTORY_MARK: str(directory),
            _traces.EXPIRES_MARK: str(ref.expires),
        }

    async def _copy(self, root: Path) -> None:
        if self._copier is None:
            look = asyncio.to_thread(Copier.of, self.working_dir, self.options.copy_exclude)
            self._copier = asyncio.ensure_future(look)
        copier = await asyncio.shield(self._copier)

        def copy(stop: threading.Event) -> None:
            root.parent.mkdir()
            copier.copy(root, stop)

        await in_thread(copy)

    def attach(self, ref: SandboxRef) -> LocalSandbox:
        """As the contract says."""
        return LocalSandbox(self, ref, self._made.get(ref.id))

    def directory_of(self, ref: SandboxRef) -> Path:
        """The private directory of a sandbox."""
        made = self._made.get(ref.id)
        return made.directory if made else _traces.base() / _traces.plain(ref.run_id) / ref.id

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """As the contract says: from the marks in the process table, and the private directories."""
        ours = os.environ.get(SANDBOX_MARK)  # Offload itself may run in a sandbox
        return [
            trace.ref
            for id, trace in (await asyncio.to_thread(_traces.find)).items()
            if id != ours and (run_id is None or trace.directory.parent.name == _traces.plain(run_id))
        ]

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """As the contract says: known at once for what this object made, one look at the process table for the rest."""
        traces: Mapping[str, _traces.Trace] = {}
        if any(ref.id not in self._made for ref in refs):
            traces = await asyncio.to_thread(_traces.find)

        def answer(ref: SandboxRef) -> Liveness:
            if made := self._made.get(ref.id):
                return made.link.gone.result() if made.link.gone.done() else Liveness.alive()
            if ref.id in traces and traces[ref.id].supervised:
                return Liveness.alive()
            return Liveness.dead("no process of it runs on this machine")

        return {ref: answer(ref) for ref in refs}

    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """As the contract says: what this object made by its supervisor, the rest by its marks."""
        foreign = {ref.id for ref in refs if ref.id not in self._made}
        failed = await self._ended(ref.id for ref in refs if ref.id in self._made)
        if foreign:
            failed |= await asyncio.to_thread(_traces.remove, foreign)
        return {
            ref: ProviderError(failed[ref.id], operation="terminate", sandbox=ref.id, provider=self.context.name)
            for ref in refs
            if ref.id in failed
        }

    async def _ended(self, ids: Iterable[str]) -> dict[str, str]:
        """End sandboxes that this object made; what may still be there, with the reason. Goes on if it is cancelled."""
        endings = {id: self._ending(id, self._made[id]) for id in ids}
        if endings:
            await asyncio.wait(endings.values())
        return {id: ending.result() for id, ending in endings.items() if ending.result()}

    def _ending(self, id: str, made: Made) -> asyncio.Task[str]:
        """The one task that ends a sandbox and looks that nothing is left; a new one if that failed before."""
        task = self._endings.get(id)
        if task is None or (task.done() and task.result()):
            task = self._endings[id] = asyncio.create_task(_end(made), name=f"end of {id}")
        return task

    async def check(self) -> Health:
        """As the contract says."""
        if sys.platform == "win32":
            return Health((Finding(Severity.ERROR, "Windows", "local sandboxes need Linux or macOS"),))
        return await asyncio.to_thread(self._check)

    def _check(self) -> Health:
        findings = [Finding(Severity.OK, f"{sys.platform}, Python {sys.version.split()[0]}")]
        place = tempfile.gettempdir()
        try:
            with tempfile.TemporaryFile(dir=place):
                free = shutil.disk_usage(place).free
        except OSError as error:
            what = f"{place} cannot be written to: {error.strerror}"
            findings.append(Finding(Severity.ERROR, what, "set TMPDIR to a directory that can"))
        else:
            enough = free >= _FREE_BYTES
            severity = Severity.OK if enough else Severity.WARNING
            todo = "" if enough else "free some, or set TMPDIR to a directory on another disk"
            findings.append(Finding(severity, f"{free / (1 << 30):.1f} GiB free in {place}", todo))
        if not self.working_dir.is_dir():
            what = f"there is no directory {self.working_dir}"
            findings.append(Finding(Severity.ERROR, what, "set `working_dir` in `[provider]`"))
        if _limits.allowed() < _limits.needed(self.context.max_parallel):
            what = f"{_limits.allowed():g} open files are too few for {self.context.max_parallel} sandboxes"
            findings.append(Finding(Severity.WARNING, what, "raise `ulimit -Hn`, or lower `max_parallel`"))
        return Health(tuple(findings))

    async def aclose(self) -> None:
        """As the contract says. Sandboxes that were not terminated end with this process, at the latest."""
        if self._endings:
            await asyncio.wait(self._endings.values())
        await super().aclose()


async def _settled(link: Link) -> None:
    waiting: set[asyncio.Future[None] | asyncio.Future[Liveness]] = {link.ready, link.gone}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _check_alive(link: Link) -> None:
    if link.gone.done():
        raise CreateFailed(link.gone.result().reason)


async def _end(made: Made) -> str:
    """End a sandbox and see that nothing of it is left; why something may be, or an empty string."""
    link = made.link
    link.end()
    _, waiting = await asyncio.wait({link.gone}, timeout=_END_SECS)
    if waiting:
        link.process.kill()
        await asyncio.wait({link.gone}, timeout=_END_SECS)
    if link.orderly and not made.directory.exists():
        return ""
    failed = await asyncio.to_thread(_traces.remove, {made.directory.name}, [made.directory], link.sessions)
    return failed.get(made.directory.name, "")
