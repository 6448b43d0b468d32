"""Errors of operations on a sandbox: where they came from, and that it is dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from ..abc import Liveness, Provider, Sandbox
from ..errors import ProviderError, SandboxDead


@contextlib.contextmanager
def naming(operation: str, where: Provider[Any] | Sandbox) -> Iterator[None]:
    """Let each `ProviderError` that leaves the block say which operation of what failed.

    Args:
        where: what the operation belongs to: a sandbox names its provider, too.
    """
    try:
        yield
    except ProviderError as error:
        error.operation, error.provider = operation, where.context.name
        if isinstance(where, Sandbox):
            error.sandbox = where.ref.id
        raise


def check_alive(death: asyncio.Future[Liveness]) -> None:
    """To be called before anything is done with a sandbox whose death this future tells.

    Raises:
        SandboxDead: it is dead, with the reason.
    """
    if death.done():
        raise SandboxDead(death.result().reason)
