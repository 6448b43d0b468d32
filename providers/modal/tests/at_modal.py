"""A provider and sandboxes on the loopback server, for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from offload_modal import ModalOptions, ModalProvider, Tuning
from offload_modal._sandbox import ModalSandbox

from offload_core.abc import Command, Context, LivenessSettings, PrepareRequest, Process, SandboxSpec
from offload_core.errors import ProviderError
from offload_core.kit import launched

QUICK = LivenessSettings(interval_secs=0.1, timeout_secs=1.0, lost_after_secs=1.0)
"""Settings with which a test has not to wait for long."""

PULSING = Tuning(pulse_secs=0.1)
"""The worker is asked often."""

_ROOT = PurePosixPath("/")


def provider(
    settings: LivenessSettings = QUICK, root: PurePosixPath = _ROOT, tuning: Tuning | None = None, **options: Any
) -> ModalProvider:
    """A provider, which is to be closed."""
    context = Context(name="modal", sandbox_root=root, max_parallel=8, liveness=settings)
    return ModalProvider(ModalOptions(**{"image": "debian:12", **options}), context, tuning)


def is_retryable(error: ProviderError) -> bool:
    """What a provider says of an error."""
    return provider().is_retryable(error)


async def created(provider: ModalProvider, **changes: Any) -> ModalSandbox:
    """A new sandbox."""
    image = await provider.prepare(PrepareRequest(context=Path("/")))
    return await provider.create(SandboxSpec(**{"name": "one", "run_id": "tests", "image": image, **changes}))


@asynccontextmanager
async def sandbox(settings: LivenessSettings = QUICK, tuning: Tuning | None = None) -> AsyncIterator[ModalSandbox]:
    """A sandbox that is terminated in the end."""
    async with provider(settings, tuning=tuning) as maker:
        sandbox = await created(maker)
        try:
            yield sandbox
        finally:
            await sandbox.terminate()


async def started(sandbox: ModalSandbox, script: str) -> Process:
    """A POSIX shell script that runs."""
    return await sandbox.exec(launched(Command(argv=("/bin/sh", "-c", script))))
