"""The docker provider keeps the contract, on a real engine."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar

import pytest
from offload_docker import DockerOptions, DockerProvider

from offload_core.abc import Context, Image, Provider, Sandbox
from offload_core.testing import ProviderConformance
from tests.docker_engine import BASE, Engine


class TestDockerProvider(ProviderConformance):
    """What `offload_core.testing` asks of every provider."""

    engine: ClassVar[Engine]

    @pytest.fixture(autouse=True)
    def _on(self, engine: Engine) -> None:
        type(self).engine = engine

    def make_provider(self) -> DockerProvider:
        """One that knows the engine by its URL."""
        context = Context(name="docker", sandbox_root=PurePosixPath("/work"), max_parallel=50)
        return DockerProvider(DockerOptions(image=BASE, hosts=(self.engine.url,)), context)

    async def make_image(self, provider: Provider[DockerOptions]) -> Image:
        """The base image, which the engine has."""
        return Image(id=BASE)

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """As a person would, or the kernel; what does not run yet can only be removed."""
        if self.engine.docker("kill", sandbox.ref.id).returncode:
            self.engine.docker("rm", "-f", sandbox.ref.id)
