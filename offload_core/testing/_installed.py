"""The conformance suite over a provider that is installed: the module that `run_checks` has pytest collect."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from typing_extensions import override

from ..abc import Image, Provider, Sandbox
from ._conformance import ProviderConformance
from ._subject import Subject


class TestInstalled(ProviderConformance):
    """All checks, over the subject that the command line names."""

    subject: ClassVar[Subject]

    @pytest.fixture(autouse=True)
    def _given(self, subject: Subject) -> None:
        type(self).subject = subject
        self.patience_secs = subject.patience_secs
        self.enforces_lifetime = subject.enforces_lifetime
        self.at_once = subject.at_once

    @override
    def make_provider(self) -> Provider[Any]:
        return self.subject.make()

    @override
    async def make_image(self, provider: Provider[Any]) -> Image | None:
        return await self.subject.image(provider)

    @override
    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        await self.subject.kill(sandbox)
