"""A provider and sandboxes on the loopback server, for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from offload_modal import ModalOptions, ModalProvider
from offload_modal._sandbox import ModalSandbox

from offload_core.abc import Command, Context, LivenessSettings, PrepareRequest, Process, SandboxSpec
from offload_core.kit import launched

QUICK = LivenessSettings(interval_secs=0.1, timeout_secs=1.0, lost_after_secs=1.0)
"""Settings with which a test has not to wait for long."""

_ROOT = PurePosixPath("/")


@asynccontextmanager
async def provider(
    settings: LivenessSettings = QUICK, root: PurePosixPath = _ROOT, **options: Any
) -> AsyncIterator[ModalProvider]:
    """A provider that is closed in the end."""
    context = Context(name="modal", sandbox_root=root, max_parallel=8, liveness=settings)
    provider = ModalProvider(ModalOptions(**{"image": "debian:12", **options}), context)
    try:
        yield provider
    finally:
        await provider.aclose()


async def created(provider: ModalProvider, **changes: Any) -> ModalSandbox:
    """A new sandbox."""
    image = await provider.prepare(PrepareRequest(context=Path("/")))
    return await provider.create(SandboxSpec(**{"name": "one", "run_id": "tests", "image": image, **changes}))


@asynccontextmanager
async def sandbox(settings: LivenessSettings = QUICK, **options: Any) -> AsyncIterator[ModalSandbox]:
    """A sandbox that is terminated in the end."""
    async with provider(settings, **options) as maker:
        sandbox = await created(maker)
        try:
            yield sandbox
        finally:
            await sandbox.terminate()


async def started(sandbox: ModalSandbox, script: str) -> Process:
    """A POSIX shell script that runs."""
    return await sandbox.exec(launched(Command(argv=("/bin/sh", "-c", script))))
