"""The ssh provider keeps the contract, with a real OpenSSH on both ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from offload_ssh import SshOptions, SshProvider
from openssh import Server, kill_marked

from offload_core.abc import Context, LivenessSettings, Sandbox
from offload_core.testing import ProviderConformance


class TestSsh(ProviderConformance):
    """The suite, with sandboxes that die because all their processes are killed."""

    patience_secs = 30.0

    @pytest.fixture(autouse=True)
    def _on(self, server: Server, tmp_path: Path) -> None:
        self.options = SshOptions(hosts=("one",), ssh=server.ssh, directory=str(tmp_path / "sandboxes"))

    def make_provider(self) -> SshProvider:
        """With sandboxes in a directory of the test's own."""
        return SshProvider(self.options, Context(name="ssh", liveness=LivenessSettings(interval_secs=0.2)))

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill every process that carries the sandbox's mark."""
        kill_marked(sandbox.ref.id)
