"""What the tests of the local provider share."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"
