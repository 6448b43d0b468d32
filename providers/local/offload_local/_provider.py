"""The provider of sandboxes on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from offload_core.abc import Context, Finding, Health, Liveness, Provider, SandboxRef, SandboxSpec, Severity
from offload_core.errors import NotFound, ProviderError
from offload_core.kit import inherited_environment, naming

from . import _limits, _traces
from ._copy import Copier
from ._files import in_thread
from ._host import Host, Instance
from ._link import start
from ._options import LocalOptions
from ._sandbox import LocalSandbox
from ._supervisor import SANDBOX_MARK, SUPERVISOR_MARK

_FREE_BYTES = 1 << 30


class LocalProvider(Provider[LocalOptions]):
    """Sandboxes that are process trees on this machine, each under a supervising process of its own."""

    Options = LocalOptions
    contract = 2
    needs_sandbox_root = False

    def __init__(self, options: LocalOptions, context: Context) -> None:
        super().__init__(options, context)
        self._host = Host(options, context)
        self._copier: asyncio.Future[Copier] | None = None

    @override
    async def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Besides: NotFound if there is no such working directory."""
        with naming("create", self):
            if sys.platform == "win32":
                raise NotFound("local sandboxes need Linux or macOS")
            return await self._create(spec)

    async def _create(self, spec: SandboxSpec) -> LocalSandbox:
        working_dir = self._host.working_dir
        if not working_dir.is_dir():
            raise NotFound(f"there is no directory {working_dir}: set `working_dir` in `[provider]`")
        usual = _limits.usual()
        _limits.allow(self.context.max_parallel)
        directory = _traces.make_directory(spec)
        copied = self.options.isolation == "copy"
        root = directory / "copy" / working_dir.name if copied else working_dir
        expires = time.time() + spec.lifetime
        ref = SandboxRef(id=directory.name, run_id=spec.run_id, name=spec.name, expires=expires)
        try:
            (directory / "scratch").mkdir()
            link = start(self._environment(spec, ref, directory, root), directory, spec.lifetime, usual)
        except BaseException:
            _traces.remove_directory(directory)
            raise
        self._host.add(ref.id, Instance(link, directory, root, Path(spec.cwd) if spec.cwd else root))
        try:
            await link.started()
            if copied:
                await self._copy(root)
                await link.started()
        except BaseException:
            await self._host.terminate([ref])
            raise
        return self.attach(ref)

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
            look = asyncio.to_thread(Copier.of, self._host.working_dir, self.options.copy_exclude)
            self._copier = asyncio.ensure_future(look)
        copier = await asyncio.shield(self._copier)

        def copy(stop: threading.Event) -> None:
            root.parent.mkdir()
            copier.copy(root, stop)

        await in_thread(copy)

    @override
    def attach(self, ref: SandboxRef) -> LocalSandbox:
        return LocalSandbox(ref, self.context, self._host)

    @override
    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """From the marks in the process table, and the private directories."""
        ours = os.environ.get(SANDBOX_MARK)  # Offload itself may run in a sandbox
        return [
            trace.ref
            for id, trace in (await asyncio.to_thread(_traces.find)).items()
            if id != ours and (run_id is None or trace.directory.parent.name == _traces.plain(run_id))
        ]

    @override
    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        return await self._host.probe(refs)

    @override
    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        return await self._host.terminate(refs)

    @override
    async def check(self) -> Health:
        if sys.platform == "win32":
            return Health((Finding(Severity.ERROR, "Windows", "local sandboxes need Linux or macOS"),))
        return await asyncio.to_thread(self._check)

    def _check(self) -> Health:
        findings = [Finding(Severity.OK, f"{sys.platform}, Python {sys.version.split()[0]}")]
        temporary = tempfile.gettempdir()
        try:
            with tempfile.TemporaryFile(dir=temporary):
                free = shutil.disk_usage(temporary).free
        except OSError as error:
            what = f"{temporary} cannot be written to: {error.strerror}"
            findings.append(Finding(Severity.ERROR, what, "set TMPDIR to a directory that can"))
        else:
            enough = free >= _FREE_BYTES
            severity = Severity.OK if enough else Severity.WARNING
            remedy = "" if enough else "free some, or set TMPDIR to a directory on another disk"
            findings.append(Finding(severity, f"{free / (1 << 30):.1f} GiB free in {temporary}", remedy))
        if not self._host.working_dir.is_dir():
            what = f"there is no directory {self._host.working_dir}"
            findings.append(Finding(Severity.ERROR, what, "set `working_dir` in `[provider]`"))
        if _limits.allowed() < _limits.needed(self.context.max_parallel):
            what = f"{_limits.allowed():g} open files are too few for {self.context.max_parallel} sandboxes"
            findings.append(Finding(Severity.WARNING, what, "raise `ulimit -Hn`, or lower `max_parallel`"))
        return Health(tuple(findings))

    @override
    async def aclose(self) -> None:
        """Sandboxes that were not terminated end with this process, at the latest."""
        await self._host.aclose()
