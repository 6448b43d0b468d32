"""What the tests of the kit share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest


@pytest.fixture
async def complaints() -> Callable[[], list[str]]:
    """What the event loop complains of by now, such as an exception that nobody has looked at."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(str(context)))

    def collected() -> list[str]:
        gc.collect()
        return told

    return collected
