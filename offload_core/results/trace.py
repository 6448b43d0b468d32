"""`trace.json`: the run as Chrome trace events, which Perfetto (https://ui.perfetto.dev) and chrome://tracing open.

The format is an array of events ("Trace Event Format", JSON array form). Process 0 is Offload itself, process N is
sandbox sN; each has lanes (threads) in which spans nest. Times are microseconds since the run started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any

from attrs import define, field

from .. import events
from .sanitize import name_line, one_line

MAIN, POOL, CLEANUP, FIRST_GROUP = 0, 1, 2, 3
"""Lanes of process 0: the run, its sandboxes as a whole, and one for each group that is listed."""

API, EXEC, IO = 0, 1, 2
"""Lanes of a sandbox: its life, what runs in it, and files."""

_LANES = {API: "API", EXEC: "Exec", IO: "I/O"}

MORE_EXEC = range(3, 64)
"""Further lanes of a sandbox, for tests that run at once in it. Of more than these, only the ends are shown."""

NO_LANE = -1
"""The lane of what has none: it is shown as a mark, where it ended."""

JsonEvent = dict[str, Any]


def trace_json(journal: Iterable[events.Stamped]) -> Iterator[str]:
    """The text of `trace.json`, in pieces, from the events of a journal in their order.

    What had not ended when the events end, ends there and says so: a run that was cut makes a whole trace, too.
    """
    trace = _Trace()
    separator = "[\n"
    for event in chain(chain.from_iterable(map(trace.take, journal)), trace.end()):
        yield separator + json.dumps(event, separators=(",", ":"))
        separator = ",\n"
    yield "\n]\n" if separator == ",\n" else "[]\n"


@define
class _Span:
    """Something that goes on. `ended` is when its lane moved on, if its end is told only later."""

    name: str
    category: str
    pid: int
    lane: int
    began: float
    args: dict[str, Any] = field(factory=dict)
    ended: float | None = None

    def event(self, at: float, **args: Any) -> JsonEvent:
        """The whole span, as it is known at `at`."""
        end = at if self.ended is None else self.ended
        event = {"name": name_line(self.name), "cat": self.category, "pid": self.pid}
        told = _told({**self.args, **args})
        if self.lane == NO_LANE:
            return {**event, "ph": "i", "s": "p", "ts": _micros(end), "tid": EXEC, "args": told}
        times = {"ts": _micros(self.began), "dur": _micros(end) - _micros(self.began)}
        return {**event, "ph": "X", **times, "tid": self.lane, "args": told}


class _Trace:
    """What goes on in each lane, while the events are read.

    `_open` has the spans of the lanes by what they are about; a span that is opened last in its lane ends first.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._open: dict[tuple[str, ...], _Span] = {}
        self._ids: dict[str, str] = {}
        self._pids: dict[str, int] = {}
        self._free = count(1_000_000)
        self._groups: dict[str, int] = {}
        self._running: dict[int, dict[int, _Span]] = {}
        self._lanes: set[tuple[int, int]] = set()
        self._starting: set[str] = set()
        self._pool_began = False
        self._last_verdict = 0.0
        self._last_end = 0.0

    def take(self, stamped: events.Stamped) -> Iterator[JsonEvent]:
        """What an event adds to the trace."""
        self._now = max(self._now, stamped.at)
        event = stamped.event
        match event:
            case events.RunStarted():
                yield from _named(0, "Offload (Local)", {MAIN: "Main", POOL: "Sandboxes", CLEANUP: "Clean-up"})
                args = {"run_id": event.run_id, "provider": event.provider, "framework": event.framework}
                self._begin(("run",), "run", "host", 0, MAIN, **args)
            case events.TestDiscovered(test):
                self._ids[test.key] = test.id
            case events.SandboxStarting() | events.SandboxReady() | events.SandboxEnded():
                yield from self._sandbox(event)
            case events.ArtefactsCollected():
                began = max(self._now - event.seconds, 0.0)
                span = _Span("download_artefacts", "io", self._pid(event.sandbox), IO, began)
                yield span.event(self._now, session=event.session, files=len(event.files), bytes=event.size)
            case events.TestNotRun():
                self._last_verdict = self._now
            case _:
                yield from self._session(event)

    def end(self) -> Iterator[JsonEvent]:
        """What the end of all events adds."""
        if self._last_end > self._last_verdict > 0:
            span = _Span("sandbox_cleanup", "orchestrator", 0, CLEANUP, self._last_verdict)
            yield span.event(self._last_end)
        for key in reversed(tuple(self._open)):
            yield from self._end(key, unfinished=True)

    # -- spans ------------------------------------------------------------------------------------------------------

    def _begin(self, key: tuple[str, ...], name: str, category: str, pid: int, lane: int, **args: Any) -> None:
        self._open[key] = _Span(name, category, pid, lane, self._now, args)

    def _end(self, key: tuple[str, ...], **args: Any) -> Iterator[JsonEvent]:
        span = self._open.pop(key, None)
        if span is not None:
            running = self._running.get(span.pid, {})
            if running.get(span.lane) is span:
                del running[span.lane]
            yield span.event(self._now, **args)

    def _instant(self, name: str, category: str, sandbox: str, **args: Any) -> JsonEvent:
        scope: JsonEvent = {"s": "p", "pid": self._pid(sandbox)} if sandbox in self._pids else {"s": "g", "pid": 0}
        at = _micros(self._now)
        return {"name": name, "cat": category, "ph": "i", "ts": at, "tid": 0, **scope, "args": _told(args)}

    # -- the run itself ---------------------------------------------------------------------------------------------

    def _run(self, event: events.Event) -> Iterator[JsonEvent]:
        match event:
            case events.DiscoveryStarted(group=group):
                lane = self._groups[group] = FIRST_GROUP + len(self._groups)
                yield _metadata("thread_name", 0, lane, f"Discovery of {group}")
                self._begin(("discovery", group), "discovery", "host", 0, lane, group=group)
            case events.DiscoveryFinished(group=group):
                yield from self._end(("discovery", group), tests=event.count, error=event.error)
            case events.PrepareStarted(provider=provider):
                self._begin(("prepare",), "image_prepare", "host", 0, MAIN, provider=provider)
            case events.PrepareFinished():
                yield from self._end(("prepare",), image=event.image_id, error=event.error)
            case events.Incident():
                suspects = [self._ids.get(key, key) for key in event.suspects]
                told = {"reason": event.reason, "suspects": suspects, "run_again": len(event.requeued)}
                yield from self._lane_moves_on(event.sandbox)
                yield self._instant(event.kind.value, "incident", event.sandbox, session=event.session, **told)
            case events.RetryWaiting():
                told = {"error": event.error, "wait_seconds": event.wait}
                yield self._instant(f"retry {event.operation}", "retry", event.sandbox, **told)
            case events.Warned(message):
                yield self._instant("warning", "warning", "", message=message)
            case events.Interrupted():
                yield self._instant("interrupted", "interrupted", "", signal=event.signal)
            case events.RunFinished():
                yield from self._end(("run",), exit_code=event.exit_code, reason=event.reason)
            case _:
                pass

    # -- sandboxes --------------------------------------------------------------------------------------------------

    def _sandbox(self, event: events.SandboxEvent) -> Iterator[JsonEvent]:
        name = event.sandbox
        self._starting.discard(name)
        match event:
            case events.SandboxStarting():
                known, pid = name in self._pids, self._pid(name)
                if not known:
                    yield from _named(pid, f"Sandbox {name}", _LANES)
                if not self._pool_began:
                    self._pool_began = True
                    self._begin(("pool",), "sandbox_pool_create", "host", 0, POOL)
                self._starting.add(name)
                self._begin(("sandbox", name), "sandbox", "sandbox", pid, API)
                self._begin(("create", name), "create", "sandbox", pid, API)
            case events.SandboxReady():
                yield from self._end(("create", name), id=event.ref.id)
                self._begin(("start", name), "session_start", "exec", self._pid(name), EXEC)
            case events.SandboxEnded():
                self._last_end = self._now
                yield from self._lane_moves_on(name)
                yield from self._end(("create", name))
                if event.how is events.SandboxEnd.TERMINATED:
                    self._open.pop(("start", name), None)  # what came after its last session was no start
                yield from self._end(("start", name))
                yield from self._end(("sandbox", name), how=event.how.value, reason=event.reason)
        if not self._starting:
            yield from self._end(("pool",))

    def _pid(self, sandbox: str) -> int:
        """The process that stands for a sandbox: sN is N."""
        if sandbox not in self._pids:
            number = re.fullmatch("s([1-9][0-9]{0,5})", sandbox)
            self._pids[sandbox] = int(number[1]) if number else next(self._free)
        return self._pids[sandbox]

    # -- sessions ---------------------------------------------------------------------------------------------------

    def _session(self, event: events.Event) -> Iterator[JsonEvent]:
        match event:
            case events.SessionOpened(sandbox=sandbox, session=session):
                yield from self._end(("start", sandbox))
                yield from self._lane_moves_on(sandbox)
                self._begin(("session", sandbox), session, "exec", self._pid(sandbox), EXEC, versions=event.versions)
            case events.SessionEnded(sandbox=sandbox):
                yield from self._lane_moves_on(sandbox, complete=event.complete, reason=event.reason)
                self._begin(("start", sandbox), "session_start", "exec", self._pid(sandbox), EXEC)
            case events.TestBegan():
                yield from self._test(event)
            case events.AttemptFinished(attempt):
                self._last_verdict = self._now
                told = {"outcome": attempt.outcome.value, "seconds": attempt.duration, "message": attempt.message}
                yield from self._end(("test", attempt.test, str(attempt.number)), **told)
            case events.AttemptDropped(test=test, number=number):
                yield from self._end(("test", test, str(number)), outcome="dropped")
            case _:
                yield from self._run(event)

    def _test(self, event: events.TestBegan) -> Iterator[JsonEvent]:
        pid = self._pid(event.sandbox)
        running = self._running.setdefault(pid, {})
        lane = next((lane for lane in (EXEC, *MORE_EXEC) if lane not in running), NO_LANE)
        if lane in MORE_EXEC and (pid, lane) not in self._lanes:
            self._lanes.add((pid, lane))
            yield _metadata("thread_name", pid, lane, f"Exec {lane - MORE_EXEC.start + 2}")
        key = ("test", event.test, str(event.number))
        self._begin(key, self._ids.get(event.test, event.test), "test", pid, lane, attempt=event.number)
        if ("session", event.sandbox) not in self._open:
            self._open[key].ended = self._now  # it is said to have begun only because it had no chance to
        elif lane != NO_LANE:
            running[lane] = self._open[key]

    def _lane_moves_on(self, sandbox: str, **args: Any) -> Iterator[JsonEvent]:
        """The session of a sandbox is over: what ran in it runs no more, whenever its outcome is told."""
        for span in self._running.pop(self._pids.get(sandbox, -1), {}).values():
            span.ended = self._now
        yield from self._end(("session", sandbox), **args)


def _micros(seconds: float) -> float:
    """Whole ones, so that spans that touch are said to touch exactly."""
    return float(round(seconds * 1e6))


def _told(args: dict[str, Any]) -> dict[str, Any]:
    """What there is to say, without what is empty."""
    return {
        key: one_line(value) if isinstance(value, str) else value
        for key, value in args.items()
        if value or isinstance(value, (bool, float))
    }


def _metadata(what: str, pid: int, lane: int, name: str) -> JsonEvent:
    return {"name": what, "cat": "", "ph": "M", "ts": 0, "pid": pid, "tid": lane, "args": {"name": name_line(name)}}


def _named(pid: int, name: str, lanes: dict[int, str]) -> Iterator[JsonEvent]:
    yield _metadata("process_name", pid, 0, name)
    yield {**_metadata("process_sort_index", pid, 0, ""), "args": {"sort_index": pid}}
    for lane, its_name in lanes.items():
        yield _metadata("thread_name", pid, lane, its_name)
