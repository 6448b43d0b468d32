"""command keeps the contract that every provider has to keep, with shell scripts as a user would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from offload_command import CommandProvider

from offload_core.abc import Sandbox
from offload_core.testing import ProviderConformance


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the scripts look processes up under /proc")
class TestCommand(ProviderConformance):
    """The suite, with sandboxes that are folders; they die when their processes are killed and their folder goes."""

    patience_secs = 30.0
    enforces_lifetime = False

    @pytest.fixture(autouse=True)
    def _folders(self, folders: Any) -> None:
        self.folders = folders

    def make_provider(self) -> CommandProvider:
        """With a probe and a list; files travel as one tar archive."""
        made: CommandProvider = self.folders.provider(**self.options())
        return made

    def options(self) -> dict[str, Any]:
        """What differs from the usual."""
        return {}

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill its processes, and remove every trace of it."""
        self.folders.remove(sandbox.ref.id)


@pytest.mark.nightly
class TestWithoutInput(TestCommand):
    """The same where `exec_command` hands on no input: nothing but time tells the difference."""

    patience_secs = 120.0  # tens of MiB travel 45 kB at a time

    def options(self) -> dict[str, Any]:
        """Another `exec_command`."""
        return {"exec_command": self.folders.line("exec-without-input", "{sandbox_id} {command}")}
