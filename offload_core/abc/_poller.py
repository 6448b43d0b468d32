"""One polling loop over all sandboxes of a provider, shared by everybody who wants to know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from ._liveness import Liveness, LivenessSettings
from ._sandbox import SandboxRef

Listener = Callable[[Liveness], None]
"""Gets each answer about one sandbox. Must not raise."""

PROBES_AT_ONCE = 8
"""How many sandboxes the default `Provider.probe_many` probes at a time."""


class Poller:
    """Calls `probe_many` every `interval_secs` for the sandboxes that somebody listens for; stops when nobody does.

    A sandbox that is new to it is asked about within `interval_secs`.
    """

    def __init__(
        self,
        probe_many: Callable[[Sequence[SandboxRef]], Coroutine[Any, Any, Mapping[SandboxRef, Liveness]]],
        settings: LivenessSettings,
    ) -> None:
        self._probe_many = probe_many
        self._settings = settings
        self._listeners: dict[SandboxRef, list[Listener]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listening(self, ref: SandboxRef, listener: Listener) -> Iterator[None]:
        """Call `listener` with each answer about `ref` while the block runs."""
        self._listeners.setdefault(ref, []).append(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._loop(), name="liveness poller")
        try:
            yield
        finally:
            self._listeners[ref].remove(listener)
            if not self._listeners[ref]:
                del self._listeners[ref]

    async def wait_dead(self, ref: SandboxRef) -> Liveness:
        """Return the first answer that says `ref` is dead."""
        dead: asyncio.Future[Liveness] = asyncio.get_running_loop().create_future()

        def listener(liveness: Liveness) -> None:
            if liveness.is_dead and not dead.done():
                dead.set_result(liveness)

        with self.listening(ref, listener):
            return await dead

    async def aclose(self) -> None:
        """Stop the loop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _loop(self) -> None:
        while self._listeners:
            await self._round(list(self._listeners))
            await asyncio.sleep(self._settings.interval_secs)

    async def _round(self, refs: Sequence[SandboxRef]) -> None:
        """Ask once about all. No answer in time is unknown; one that comes late still counts: many take long."""
        timeout = self._settings.timeout_secs
        asking = asyncio.ensure_future(self._probe_many(refs))
        try:
            await asyncio.wait({asking}, timeout=timeout)
            if not asking.done():
                self._tell(dict.fromkeys(refs, Liveness.unknown(f"no answer in {timeout:g} s")))
                await asyncio.wait({asking}, timeout=timeout * (len(refs) / PROBES_AT_ONCE))
            if asking.done():
                self._tell(self._answers(refs, asking))
        finally:
            asking.cancel()

    @staticmethod
    def _answers(
        refs: Sequence[SandboxRef], asked: asyncio.Future[Mapping[SandboxRef, Liveness]]
    ) -> dict[SandboxRef, Liveness]:
        try:
            answers = asked.result()
        except (Exception, asyncio.CancelledError) as error:  # a probe that errs is unknown, whatever the error
            return dict.fromkeys(refs, Liveness.unknown(f"the probe failed: {error!r}"))
        left_out = Liveness.unknown("the provider's probe_many left it out")
        return {ref: answers.get(ref, left_out) for ref in refs}

    def _tell(self, answers: Mapping[SandboxRef, Liveness]) -> None:
        for ref, answer in answers.items():
            for listener in tuple(self._listeners.get(ref, ())):
                listener(answer)
