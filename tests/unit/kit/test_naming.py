"""Errors say where they come from."""

from __future__ import annotations

import pytest

from offload_core.abc import Context, SandboxRef
from offload_core.errors import ConnectionLost, ProviderError
from offload_core.kit import naming
from tests.support.simulated_backend import Backend, MemoryProvider


def test_what_leaves_the_block_is_named() -> None:
    """By operation and provider, and by the sandbox if it is on one; what was named within has the outermost name."""
    provider = MemoryProvider(Backend({}), Context(name="memory"))
    sandbox = provider.attach(SandboxRef(id="s1"))
    with pytest.raises(ConnectionLost) as raised, naming("upload", sandbox), naming("exec", sandbox):
        raise ConnectionLost("gone")
    assert (raised.value.operation, raised.value.provider, raised.value.sandbox) == ("upload", "memory", "s1")
    with pytest.raises(ProviderError) as failed, naming("list", provider):
        raise ProviderError("no")
    assert (failed.value.operation, failed.value.provider, failed.value.sandbox) == ("list", "memory", None)


def test_other_errors_pass() -> None:
    """As they are."""
    with pytest.raises(ValueError, match="no"), naming("list", MemoryProvider(Backend({}), Context())):
        raise ValueError("no")
