"""An OpenSSH server for all tests, and one that a test may stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openssh import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests."""
    with serving(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Server]:
    """One that a test may stop."""
    with serving(tmp_path) as made:
        yield made


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"
