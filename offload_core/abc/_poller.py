"""One polling loop over all sandboxes of a provider, shared by everybody who wants to know."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ._liveness import Liveness, LivenessSettings
from ._sandbox import SandboxRef

Listener = Callable[[Liveness], None]


class Poller:
    """Calls `probe_many` every `interval_secs` for the sandboxes that somebody listens for; stops when nobody does."""

    def __init__(
        self,
        probe_many: Callable[[Sequence[SandboxRef]], Awaitable[Mapping[SandboxRef, Liveness]]],
        settings: LivenessSettings,
    ) -> None:
        self._probe_many = probe_many
        self._settings = settings
        self._listeners: dict[SandboxRef, list[Listener]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listening(self, ref: SandboxRef, listener: Listener):  # type: ignore[no-untyped-def]
        """Call `listener` with each answer about `ref` while the block runs. The first comes at once."""
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
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while self._listeners:
            refs = list(self._listeners)
            answers = await self._ask(refs)
            for ref in refs:
                answer = answers.get(ref, Liveness.unknown("the provider's probe_many left it out"))
                for listener in tuple(self._listeners.get(ref, ())):
                    listener(answer)
            await asyncio.sleep(self._settings.interval_secs)

    async def _ask(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        try:
            async with asyncio.timeout(self._settings.timeout_secs):
                return await self._probe_many(refs)
        except TimeoutError:
            return dict.fromkeys(refs, Liveness.unknown(f"no answer in {self._settings.timeout_secs:g} s"))
        except Exception as error:  # a probe that errs is unknown, whatever the error
            return dict.fromkeys(refs, Liveness.unknown(f"the probe failed: {error!r}"))
