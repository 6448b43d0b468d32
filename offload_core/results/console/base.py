"""What both consoles do with events: say each thing once, in words, and within bounds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ... import events
from ...ledger import Record
from ..accounting import Accounting
from ..sanitize import name_line, one_line
from ..summary import incident_entry
from ..words import count, duration, incident
from . import wording
from .printer import Line, Printer

MAX_FULL_FAILURES = 100
"""Failures printed with their text; after these, one line each."""
MAX_FAILURES = 1000
"""Failures printed at all; the rest is in the reports."""
MAX_NOTICES = 50
"""Notices printed of one kind."""
MAX_WAITED_FOR = 3
"""Running tests named in a line about what the run waits for."""


class Console:
    """A consumer of events for people. `accounting` must have got each event before.

    Args:
        results: stdout.
        notices: stderr.
        full_text: where texts that are cut here can be read in full.
        tick_secs: how often `tick` is called from a thread of its own, from the first event on; None for never.
        clock: seconds, for what is said when no event comes.

    Attributes:
        running: the attempts under way by test and number, with the second that each began at.
        phases: what the run is doing, with the second that it began at.
    """

    def __init__(
        self,
        accounting: Accounting,
        results: Printer,
        notices: Printer,
        *,
        full_text: str = "the reports",
        tick_secs: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accounting = accounting
        self.results = results
        self.notices = notices
        self.running: dict[tuple[str, int], tuple[float, events.TestBegan]] = {}
        self.phases: dict[str, float] = {}
        self._full_text = full_text
        self._printed: set[str] = set()
        self._said: Counter[str] = Counter()
        self._clock = clock
        self._last = (0.0, clock())
        self._lock = threading.Lock()
        self._tick_secs = tick_secs
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, stamped: events.Stamped) -> None:
        """Say what there is to say about an event."""
        with self._lock:
            self._last = (stamped.at, self._clock())
            self._handle(stamped.event, stamped.at)
        if self._tick_secs is not None and self._ticker is None and not self._stop.is_set():
            self._ticker = threading.Thread(target=self._keep_ticking, name="console", daemon=True)
            self._ticker.start()

    def tick(self) -> None:
        """Say what is due even though nothing happens."""
        with self._lock:
            if not self._stop.is_set():
                self._on_tick()

    def close(self) -> None:
        """Stop whatever moves and restore the terminal. Idempotent."""
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        with self._lock:
            self._on_close()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Close, then print the failures that are not yet, and the end of the report."""
        self.close()
        with self._lock:
            for record in self.accounting.records.values():
                self._print_failure(record)
            self.results.write(wording.ending(summary))
            self._on_close()

    @property
    def now(self) -> float:
        """Seconds since the run started."""
        at, seen = self._last
        return at + self._clock() - seen

    def notice(self, kind: str, text: str, style: str = "") -> None:
        """A line on stderr, at most `MAX_NOTICES` of a kind."""
        self._said[kind] += 1
        if self._said[kind] <= MAX_NOTICES:
            self.notices.write([Line(text, style)])
        elif self._said[kind] == MAX_NOTICES + 1:
            self.notices.write([Line(f"[{kind}] more of these are not printed; the journal has all", "dim")])

    def waiting_for(self) -> str:
        """What the run waits for, in words."""
        parts = [f"{phase} ({duration(self.now - at)})" for phase, at in self.phases.items()]
        if starting := len(self.accounting.sandboxes_starting):
            parts.append(f"{count(starting, 'sandbox')} starting")
        if number := len(self.running):
            shown = ", ".join(
                f"{self.name_of(test)} ({duration(self.now - at)} in {name_line(test.sandbox)})"
                for at, test in islice(self.running.values(), MAX_WAITED_FOR)
            )
            more = f" and {number - MAX_WAITED_FOR} more" if number > MAX_WAITED_FOR else ""
            parts.append(f"{count(number, 'test')} running: {shown}{more}")
        return "; ".join(parts) or "nothing that is known"

    def name_of(self, running: events.TestBegan) -> str:
        """The id of a running test, on one line."""
        return name_line(self.accounting.id_of(running.test))

    def _on_tick(self) -> None:
        """Called by `tick`."""

    def _on_close(self) -> None:
        """Called by `close`, perhaps more than once."""

    def _phase(self, text: str) -> None:
        """A line about a phase that begins or ends."""

    def _keep_ticking(self) -> None:
        while not self._stop.wait(self._tick_secs):
            self.tick()

    def _handle(self, event: events.Event, at: float) -> None:
        match event:
            case events.TestBegan():
                self.running[event.test, event.number] = at, event
            case events.AttemptFinished():
                self.running.pop((event.attempt.test, event.attempt.number), None)
                self._attempt(self.accounting.records[event.attempt.test], event.attempt.number)
            case events.AttemptDropped():
                self.running.pop((event.test, event.number), None)
            case events.AttemptAmended():
                self._attempt(self.accounting.records[event.test], event.number)
            case events.ModuleCollected():
                self._print_failure(self.accounting.records[event.key])
            case events.TestNotRun():
                self._print_failure(self.accounting.records[event.test])
            case events.SessionEnded():
                for key in [key for key, (_, test) in self.running.items() if test.session == event.session]:
                    del self.running[key]
            case _:
                self._handle_rest(event, at)

    def _handle_rest(self, event: events.Event, at: float) -> None:
        match event:
            case events.Incident():
                self.notice("incident", f"[incident] {incident(incident_entry(self.accounting, event))}", "warn")
            case events.Warned(message):
                self.notice("warning", f"warning: {one_line(message, wording.MAX_LINE)}", "warn")
            case events.RetryWaiting():
                place = f" {name_line(event.sandbox)}" if event.sandbox else ""
                error = one_line(event.error, 300)
                said = f"{event.operation}{place} failed ({error}); attempt {event.attempt + 1} in {event.wait:.1f}s"
                self.notice("retry", f"[retry] {said}", "dim")
            case events.Interrupted():
                self.notice("interrupted", "Interrupted: sandboxes are ended, reports are written.", "warn")
            case events.RunStarted():
                said = f"{event.framework} on {event.provider}, up to {count(event.max_parallel, 'sandbox')}"
                self._phase(f"[offload] run {event.run_id}: {said}")
            case events.DiscoveryStarted(group=group):
                self._begin(f"discovering {name_line(group)}", at, "discover", name_line(group))
            case events.DiscoveryFinished(group=group, error=error):
                notes = f"failed: {one_line(error)}" if error else count(event.count, "test")
                self._end(f"discovering {name_line(group)}", at, "discover", name_line(group), notes)
            case events.PrepareStarted(provider=provider):
                self._begin("preparing the image", at, "prepare", provider)
            case events.PrepareProgress(line):
                self._phase(f"[prepare]   {one_line(line)}")
            case events.PrepareFinished(image_id=image, error=error):
                notes = f"failed: {one_line(error)}" if error else one_line(image)
                provider = self.accounting.started.provider if self.accounting.started else "image"
                self._end("preparing the image", at, "prepare", provider, notes)
            case _:
                pass

    def _begin(self, phase: str, at: float, kind: str, name: str) -> None:
        self.phases[phase] = at
        self._phase(f"[{kind}] starting: {name}")

    def _end(self, phase: str, at: float, kind: str, name: str, notes: str) -> None:
        took = f"took {duration(at - self.phases.pop(phase, at))}"
        self._phase(f"[{kind}] finished: {name} [{f'{notes}, ' if notes else ''}{took}]")

    def _attempt(self, record: Record, number: int) -> None:
        if record.decided:
            self._print_failure(record)
        elif record.attempts and record.attempts[-1].number == number and record.attempts[-1].outcome.bad:
            self.notice("retrying", wording.retrying(record), "warn")

    def _print_failure(self, record: Record) -> None:
        attempt = record.deciding
        if attempt is None or not record.state.bad or record.test.key in self._printed:
            return
        self._printed.add(record.test.key)
        printed = len(self._printed)
        if printed <= MAX_FULL_FAILURES:
            self.results.write(wording.failure(record, attempt, self._full_text))
        elif printed <= MAX_FAILURES:
            self.results.write([wording.failure_head(record, attempt)])
        elif printed == MAX_FAILURES + 1:
            self.results.write([Line(f"… further failures are not printed; they are in {self._full_text}", "bad")])
