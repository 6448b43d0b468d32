"""modal keeps the contract that every provider has to keep, with both generations of Modal's sandboxes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from loopback import Loopback
from offload_modal import ModalOptions, ModalProvider

from offload_core.abc import Context, Image, LivenessSettings, PrepareRequest, Provider, Sandbox
from offload_core.testing import ProviderConformance


class TestModal(ProviderConformance):
    """The suite, with sandboxes that die at Modal, and whose workers then refuse every connection."""

    patience_secs = 20.0
    server: Loopback

    @pytest.fixture(autouse=True)
    def _serve(self, loopback: Loopback, generation: str) -> None:
        self.server = loopback

    def make_provider(self) -> ModalProvider:
        """With sandboxes from an image that has nothing of its own."""
        settings = LivenessSettings(interval_secs=0.2)
        context = Context(name="modal", sandbox_root=PurePosixPath("/"), max_parallel=20, liveness=settings)
        return ModalProvider(ModalOptions(image="debian:12"), context)

    async def make_image(self, provider: Provider[Any]) -> Image | None:
        """At Modal it is cached."""
        return await provider.prepare(PrepareRequest(context=Path("/")))

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Kill all its processes behind the provider's back."""
        self.server.kill(sandbox.ref.id, router="refuse")
