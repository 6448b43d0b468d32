"""An error says which operation of which provider and sandbox it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import Context, SandboxRef
from offload_core.errors import CreateFailed, ProviderError, SandboxDead
from offload_core.kit import naming


def test_an_error_is_named() -> None:
    """By what it leaves: a sandbox names its provider, too. Its class, its words and its cause stay."""
    provider = LocalProvider(LocalOptions(), Context(name="mine", project_dir=Path("/")))
    sandbox = provider.attach(SandboxRef(id="box"))
    with pytest.raises(CreateFailed, match=r"^mine create: no room$"), naming("create", provider):
        raise CreateFailed("no room")
    with pytest.raises(SandboxDead, match=r"^mine exec sandbox box: gone$"), naming("exec", sandbox):
        raise SandboxDead("gone", operation="inspect")
    with pytest.raises(ProviderError) as caught, naming("list", provider):
        raise ProviderError("lost") from OSError("why")
    assert isinstance(caught.value.__cause__, OSError)


def test_other_errors_pass() -> None:
    """What is no `ProviderError` is left as it is."""
    provider = LocalProvider(LocalOptions(), Context(name="mine", project_dir=Path("/")))
    with pytest.raises(KeyError, match="why"), naming("create", provider):
        raise KeyError("why")
