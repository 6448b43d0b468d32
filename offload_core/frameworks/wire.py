"""The host's end of the plugin's event stream: lines in, dictionaries out, everything else to the log, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from ..abc import ByteStream, Exit, Process
from ..errors import ProviderError
from ..kit import settle
from .output import MAX_LOG_BYTES, TAIL_BYTES, Lines, Log, harmless

_MAX_WAITING = 1000
_GRACE_SECS = 2.0

# Short tests end faster than it pays to wake up for each. The pipe keeps what comes meanwhile, also if pytest dies.
_GATHER_SECS = 0.01
_BULK_BYTES = 1 << 14


class Wire:
    """A running plugin.

    Both streams are read from the start by tasks that end with the streams, or shortly after the process.

    Attributes:
        finished: done when no event comes any more.

    Args:
        marker: what its events' lines carry.
        log: called with every other line, or with several and line breaks between them.
        take: may take an event for itself as soon as it arrives, by returning True.
        max_event_bytes: a longer line is skipped: the plugin writes none.
    """

    def __init__(
        self,
        process: Process,
        marker: str,
        log: Callable[[str], None],
        take: Callable[[dict[str, Any]], bool],
        max_event_bytes: int = 1 << 26,
    ) -> None:
        self._max_event_bytes = max_event_bytes
        self._process = process
        self._marker = marker.encode() + b" "
        self._log = Log(log)
        self._take = take
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._chunks = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pumps = {
            asyncio.create_task(self._events_from(self._counted(process.stdout)), name="session events"),
            asyncio.create_task(self._log.read(self._counted(process.stderr)), name="session output"),
        }
        self._end = asyncio.create_task(self._supervise(), name="session process")

    async def next(self) -> dict[str, Any] | None:
        """The next event, or None when there are no more. Cancelling loses none."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)  # for whoever asks again
        if self._events.qsize() < _MAX_WAITING:
            self._room.set()
        return event

    @property
    def over(self) -> bool:
        """Whether the process has ended and everything was read."""
        return self._end.done()

    async def send(self, request: Mapping[str, Any]) -> None:
        """Write a request. Raises what `Process.write` does."""
        await self._process.write(json.dumps(request).encode() + b"\n")

    async def close_stdin(self) -> None:
        """No more requests."""
        await self._process.close_stdin()

    async def kill(self) -> None:
        """End the process with all it started, and the tasks here."""
        await self._process.kill()
        await asyncio.wait({self._end}, timeout=2 * _GRACE_SECS)
        for task in (*self._pumps, self._end):
            task.cancel()

    async def wait(self) -> Exit:
        """How it ended; `reason` holds the last of its output from the second line on.

        Raises:
            SandboxDead, ConnectionLost: its end could not be observed.
        """
        await asyncio.wait({self._end})
        ended = Exit(reason="killed; its end was not seen") if self._end.cancelled() else self._end.result()
        if isinstance(ended, ProviderError):
            raise ended
        tail = self.tail()
        return evolve(ended, reason=f"{ended.reason}\n{tail}") if tail else ended

    def tail(self) -> str:
        """The last lines of its output, or of a crash its report from the start; at most `TAIL_BYTES`."""
        lines = list(self._log.last)
        crashes = [index for index, line in enumerate(lines) if line.startswith("Fatal Python error")]
        return "\n".join(lines[crashes[-1] :])[:TAIL_BYTES].strip() if crashes else self._log.tail()

    def _finish(self) -> None:
        settle(self.finished, None)
        self._events.put_nowait(None)

    async def _supervise(self) -> Exit | ProviderError:
        ended: Exit | ProviderError
        try:
            ended = await self._process.wait()
        except ProviderError as error:
            ended = error
        # A descendant may hold the streams open; what this process had written is read as long as anything comes.
        while not all(pump.done() for pump in self._pumps):
            before = self._chunks
            await asyncio.wait(self._pumps, timeout=_GRACE_SECS)
            if self._chunks == before and self._room.is_set():
                break
        for pump in self._pumps:
            pump.cancel()
        for failure in await asyncio.gather(*self._pumps, return_exceptions=True):
            if isinstance(failure, Exception):
                self._log.say(f"its output could not be read: {failure!r}")
        self._finish()
        return ended

    async def _events_from(self, stream: ByteStream) -> None:
        lines = Lines(self._max_event_bytes)
        try:
            async for chunk in stream:
                for line in lines.feed(chunk):
                    self._line(line)
                await asyncio.sleep(_GATHER_SECS if len(chunk) < _BULK_BYTES else 0)
                if self._events.qsize() >= _MAX_WAITING:
                    self._room.clear()
                    await self._room.wait()
            for line in lines.end():
                self._line(line)
        finally:
            self._finish()

    async def _counted(self, stream: ByteStream) -> ByteStream:
        async for chunk in stream:
            self._chunks += 1
            yield chunk

    def _line(self, line: bytes) -> None:
        before, marker, text = line.rpartition(self._marker)
        if not marker:
            return self._other(text)
        if before:
            self._other(before)
        try:
            event = json.loads(text)
            if b"\\ud" in text:
                event = _writable(event)
            if self._take(event):
                return
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._log.say(f"an event that is none ({error}): {harmless(text[:200])}")
            return
        self._events.put_nowait(event)

    def _other(self, line: bytes) -> None:
        more = f" [… {len(line)} bytes in all]" if len(line) > MAX_LOG_BYTES else ""
        self._log.say(harmless(line[:MAX_LOG_BYTES]) + more)


_TEXTS = ("message", "details", "output", "properties")


def _writable(event: dict[str, Any]) -> dict[str, Any]:
    """Lone surrogates, which no file can take, as visible escapes; but not in ids, which must stay what they are."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode(errors="backslashreplace").decode()
        return [clean(each) for each in value] if isinstance(value, list) else value

    return {name: clean(value) if name in _TEXTS else value for name, value in event.items()}
