"""Each check of the conformance suite fails for a provider that is wrong in just that, and says why."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from offload_core.abc import Provider, Sandbox
from offload_core.testing import FaultySandbox, ProviderConformance
from tests.integration.wrong_providers import commands, deaths, ends, files
from tests.integration.wrong_providers.base import Case, Wrong
from tests.support.marks import nightly

CASES = (*commands.CASES, *files.CASES, *deaths.CASES, *ends.CASES)


class Suite(ProviderConformance):
    """The suite over one provider."""

    patience_secs = 60.0
    at_once = 5
    provider_class: type[Wrong] = Wrong

    def make_provider(self) -> Provider[Any]:
        """A new one."""
        return self.provider_class()

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """End the inner one."""
        if isinstance(sandbox, FaultySandbox):
            sandbox = sandbox.inner
        await sandbox.terminate()


class TestRight(Suite):
    """The wrapper around local passes everything: so what fails below fails for its own fault."""

    patience_secs = 30.0
    at_once = 50


@pytest.mark.parametrize("case", [nightly(case) if n % 3 else case for n, case in enumerate(CASES)], ids=str)
def test_wrong_provider_fails(case: Case) -> None:
    """The check that is about what is wrong fails, with words that say what the contract asks."""
    suite = Suite()
    suite.provider_class = case.provider_class
    if case.hangs:
        suite.patience_secs = 4.0
    with pytest.raises(AssertionError, match=case.words):
        getattr(suite, case.check)()


def test_every_check_can_fail() -> None:
    """No check is there that nothing can fail."""
    checks = {name for name in dir(ProviderConformance) if name.startswith("test_")}
    assert checks == {case.check for case in CASES}


STUCK = """
import asyncio
from offload_core.testing import ProviderConformance
from tests.support.marks import nightly

class Author(ProviderConformance):
    patience_secs = 0.1
    def make_provider(self): ...
    async def kill_sandbox(self, sandbox): ...

async def create():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

try:
    Author().run(create())
except AssertionError as error:
    print(error)
"""


def test_a_call_that_cannot_even_be_cancelled_fails_its_check() -> None:
    """The suite goes on, and says where the call waits."""
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("a call of the provider did not return, not even when it was cancelled")
    assert "in create (" in done.stdout
