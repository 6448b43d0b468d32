"""Modal, as one provider object uses it."""

from __future__ import annotations

import asyncio

import modal
from attrs import frozen

from offload_core.abc import Context
from offload_core.kit import BackgroundTasks

from ._options import ModalOptions


@frozen(kw_only=True)
class Tuning:
    """How Modal is asked; what holds for its service, so it is no option.

    Attributes:
        pushes_at_once: how many long polls there are at a time. All calls share one connection, and from 100 streams
            on they wait for each other for seconds; the sandboxes beyond are asked about in bulk.
        bulk_from: sandboxes from which on one listing costs less than a call for each.
        pulse_secs: how often the worker is asked about a command that runs.
        changed_tries: how often a layer is tried whose files change while they are read.
    """

    pushes_at_once: int = 90
    bulk_from: int = 9
    pulse_secs: float = 5.0
    changed_tries: int = 3


class ModalBackend:
    """The SDK, and what is under way at Modal.

    Attributes:
        tasks: what nobody needs once the provider is closed.
        pushes: to be held by each long poll for a death.
    """

    def __init__(self, options: ModalOptions, context: Context, tuning: Tuning) -> None:
        self.options = options
        self.context = context
        self.tuning = tuning
        self.tasks = BackgroundTasks()
        self.pushes = asyncio.Semaphore(tuning.pushes_at_once)
        self._app: asyncio.Task[modal.App] | None = None

    async def client(self) -> modal.Client:
        """The SDK's connection, which this process shares."""
        return await modal.Client.from_env.aio()

    async def app(self) -> modal.App:
        """The app that all sandboxes belong to, looked up once."""
        if self._app is None or (self._app.done() and (self._app.cancelled() or self._app.exception() is not None)):
            self._app = self.tasks.start(self.look_up(create=True), "look-up of the app")
        return await asyncio.shield(self._app)

    async def look_up(self, *, create: bool) -> modal.App:
        """The app, as Modal has it now."""
        return await modal.App.lookup.aio(
            self.options.app_name,
            client=await self.client(),
            environment_name=self.options.environment,
            create_if_missing=create,
        )
