"""modal keeps the contract that every provider has to keep, with both generations of Modal's sandboxes."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import modal
import pytest
from loopback import Loopback
from offload_modal import ModalOptions, ModalProvider

from offload_core.abc import Context, Image, LivenessSettings, PrepareRequest, Provider, Sandbox
from offload_core.testing import ProviderConformance


@contextmanager
def serving_elsewhere() -> Iterator[dict[str, str]]:
    """A second server, in a process of its own; the variables with which the SDK uses it."""
    command = [sys.executable, "-m", "loopback"]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            exports = itertools.takewhile(lambda line: line.startswith("export "), lines)
            yield dict(shlex.split(line)[1].split("=", 1) for line in exports)
        finally:
            process.terminate()


class TestModal(ProviderConformance):
    """The suite, with sandboxes that die at Modal, and whose workers then refuse every connection."""

    patience_secs = 20.0
    server: Loopback

    @pytest.fixture(autouse=True)
    def _serve(self, loopback: Loopback, generation: str) -> None:
        self.server = loopback

    def test_exec_back_pressure(self) -> None:
        """Of what nobody reads, little is held in memory, here in a process without the server, which holds it all."""
        with serving_elsewhere() as environment, pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            modal.Client.from_env().close()
            try:
                super().test_exec_back_pressure()
            finally:
                modal.Client.from_env().close()

    def make_provider(self) -> ModalProvider:
        """With sandboxes from an image that has nothing of its own."""
        settings = LivenessSettings(interval_secs=0.2)
        context = Context(name="modal", sandbox_root=PurePosixPath("/"), max_parallel=50, liveness=settings)
        return ModalProvider(ModalOptions(image="debian:12"), context)

    async def make_image(self, provider: Provider[Any]) -> Image | None:
        """At Modal it is cached."""
        return await provider.prepare(PrepareRequest(context=Path("/")))

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill all its processes behind the provider's back."""
        self.server.kill(sandbox.ref.id, router="refuse")
