"""local keeps the contract that every provider has to keep."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import Context, LivenessSettings, Sandbox
from offload_core.testing import ProviderConformance


class TestLocal(ProviderConformance):
    """The suite, with sandboxes that die because their supervisor and everything below it is killed."""

    patience_secs = 30.0

    def make_provider(self) -> LocalProvider:
        """With sandboxes that run in the root directory."""
        context = Context(name="local", project_dir=Path("/"), liveness=LivenessSettings(interval_secs=0.2))
        return LocalProvider(LocalOptions(), context)

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill every process that carries the sandbox's mark."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("OFFLOAD_SANDBOX") == sandbox.ref.id:
                    process.kill()
