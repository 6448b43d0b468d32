"""Where an error came from: the operation, the provider and the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..abc import Provider, Sandbox
from ..errors import ProviderError


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
