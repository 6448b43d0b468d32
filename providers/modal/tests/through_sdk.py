"""What the tests of the loopback server do with the real SDK."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import modal

BOUND_SECS = 120


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test, with a bound for all that it waits for."""

    async def bounded() -> None:
        async with asyncio.timeout(BOUND_SECS):
            await test

    asyncio.run(bounded())


async def new_app() -> modal.App:
    """An app that no other test has."""
    return await modal.App.lookup.aio(f"test-{uuid.uuid4()}", create_if_missing=True)


async def new_sandbox(*command: str, app: modal.App | None = None, **options: Any) -> modal.Sandbox:
    """A sandbox that runs `command`, or nothing; `options` are those of `modal.Sandbox.create`."""
    options.setdefault("timeout", 600)
    return await modal.Sandbox.create.aio(*command, app=app or await new_app(), **options)


async def output(sandbox: modal.Sandbox, *command: str) -> str:
    """What `command` writes to its stdout; it must succeed."""
    process = await sandbox.exec.aio(*command)
    said = await process.stdout.read.aio()
    code = await process.wait.aio()
    assert code == 0, (code, said, await process.stderr.read.aio())
    return str(said)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
