"""The words of the console: pure functions from what is known to lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ...abc import Attempt, Outcome
from ...events import Incident, IncidentKind
from ...kit import cut
from ...ledger import Record
from ..sanitize import name_line, one_line, printable
from .printer import Line

MAX_FAILURE_LINES = 200
MAX_LINE = 2000
"""Characters of a line; the rest is in the reports."""
MAX_NAMES = 20
"""Names listed of any kind of thing at the end."""

WORDS = {Outcome.FAILED: "FAILED", Outcome.ERROR: "ERROR", Outcome.TIMED_OUT: "TIMED OUT", Outcome.CRASHED: "CRASHED"}


def duration(seconds: float) -> str:
    """Seconds as people read them: `0.35s`, `12.3s`, `2m 05s`, `1h 02m`."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"


def count(number: int, noun: str) -> str:
    """`1 test`, `2 tests`, `3 sandboxes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('x') else 's'}"


def money(amount: float, currency: str) -> str:
    """`$0.0123`, `0.0123 EUR`."""
    return f"${amount:.4f}" if currency == "USD" else f"{amount:.4f} {one_line(currency, 20)}"


def where(record: Record, attempt: Attempt) -> str:
    """The group, sandbox and attempt, in words."""
    parts = [f"group {name_line(record.test.group)}"] if record.test.group else []
    if attempt.sandbox:
        parts.append(f"sandbox {name_line(attempt.sandbox)}")
    if len(record.attempts) > 1:
        parts.append(f"attempt {attempt.number} of {len(record.attempts)}")
    parts.append(duration(attempt.duration))
    return ", ".join(parts)


def failure(record: Record, full_text: str) -> Iterator[Line]:
    """A test that failed in the end, with everything known of its last attempt, within bounds.

    Args:
        full_text: where the rest can be read, e.g. `test-results/junit.xml`.
    """
    attempt = record.deciding
    if attempt is None:
        return
    yield Line("")
    yield failure_head(record, attempt)
    body = list(islice(_body(attempt), MAX_FAILURE_LINES + 1))
    yield from body[:MAX_FAILURE_LINES]
    if len(body) > MAX_FAILURE_LINES:
        yield Line(f"  [… more than {MAX_FAILURE_LINES} lines; full text in {full_text} …]", "dim")


def failure_head(record: Record, attempt: Attempt) -> Line:
    """The line that names a failure and says where it happened."""
    return Line(f"{WORDS[attempt.outcome]} {name_line(record.test.id)}  ({where(record, attempt)})", "bad")


def _body(attempt: Attempt) -> Iterator[Line]:
    message = one_line(attempt.message, MAX_LINE)
    if message and attempt.message.strip() not in attempt.details:
        yield Line(f"  {message}")
    yield from _indented(attempt.details)
    for section in attempt.output:
        if section.text.strip():
            yield Line(f"  --- {one_line(section.title)} ---", "strong")
            yield from _indented(section.text)


def _indented(text: str) -> Iterator[Line]:
    # Cut before it is scrubbed: a text of megabytes must not hold up the run.
    bounded = cut(text, MAX_FAILURE_LINES * 500).strip("\n")
    for line in printable(bounded).split("\n") if bounded else ():
        yield Line(f"  {cut(line, MAX_LINE, mark=' [… {left_out} characters …] ')}".rstrip())


def retrying(record: Record) -> str:
    """That a failure is not the last word on its test."""
    attempt = record.attempts[-1]
    message = one_line(attempt.message, 200)
    return f"retrying {name_line(record.test.id)}: {attempt.outcome.value}{f' ({message})' if message else ''}"


_INCIDENTS = {
    IncidentKind.SANDBOX_DEAD: "sandbox {sandbox} died",
    IncidentKind.SANDBOX_LOST: "sandbox {sandbox} was lost",
    IncidentKind.SANDBOX_UNUSABLE: "sandbox {sandbox} could not be used",
    IncidentKind.SESSION_CRASHED: "the test process of session {session} in sandbox {sandbox} ended unexpectedly",
    IncidentKind.CREATE_FAILED: "sandbox {sandbox} could not be created",
    IncidentKind.TERMINATE_FAILED: "sandbox {sandbox} could not be terminated",
    IncidentKind.PREPARE_FAILED: "the image could not be prepared",
    IncidentKind.DISCOVERY_FAILED: "the tests could not be listed",
    IncidentKind.BREAKER: "no more sandboxes are created",
    IncidentKind.STALLED: "the run stopped moving",
}


def incident(kind: str, what: Mapping[str, Any]) -> str:
    """An incident in words. `what` has `sandbox`, `session`, `reason`, `requeued` and `suspects` (ids)."""
    known = _INCIDENTS.get(IncidentKind(kind), kind)
    text = known.format(sandbox=name_line(what["sandbox"]), session=name_line(what["session"]))
    if reason := one_line(what["reason"], 300):
        text += f" ({reason})"
    effects = []
    if requeued := len(what["requeued"]):
        effects.append(f"{count(requeued, 'test')} run{'s' if requeued == 1 else ''} again elsewhere")
    if suspects := what["suspects"]:
        effects.append(f"suspected: {_some(suspects, 3)}")
    return f"{text}: {'; '.join(effects)}" if effects else text


def incident_event(event: Incident, records: Mapping[str, Record]) -> str:
    """As `incident`, from the event."""
    suspects = [records[key].test.id if key in records else key for key in event.suspects]
    what = {"sandbox": event.sandbox, "session": event.session, "reason": event.reason}
    return incident(event.kind.value, {**what, "requeued": event.requeued, "suspects": suspects})


def _some(names: Sequence[str], limit: int) -> str:
    shown = ", ".join(name_line(name, 200) for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def ending(summary: Mapping[str, Any]) -> Iterator[Line]:
    """What is printed on stdout at the end of a run, from what `summary.json` holds."""
    yield from _flaky(summary["flaky"])
    yield from _names("Failed tests:", summary["failures"], "state", "message")
    yield from _not_run(summary["not_run"])
    if incidents := summary["incidents"]:
        yield from _heading(f"Infrastructure ({count(len(incidents), 'incident')}):")
        for each in incidents[:MAX_NAMES]:
            yield Line(f"  {incident(each['kind'], each)}", "warn")
        yield from _more(len(incidents))
    for group, error in summary["discovery_errors"].items():
        yield from _heading(f"Group {name_line(group)} could not be listed:")
        yield from _indented(cut(error, 10_000))
    if slowest := summary["slowest"]:
        yield from _heading("Slowest tests:")
        for each in slowest:
            yield Line(f"  {duration(each['seconds']):>8}  {name_line(each['id'])}")
    yield from _results(summary)
    yield from _cost(summary["cost"])
    if reports := summary["reports"]:
        yield from _heading("Reports:")
        for path in reports.values():
            yield Line(f"  {path}")
    if brought := sum(len(each["files"]) for each in summary["artefacts"]):
        yield Line(f"  and {count(brought, 'file')} of tests, in a directory of each sandbox beside these")
    if rerun := summary["rerun"]:
        yield from _heading("Run again what has no good result:")
        yield Line(f"  {one_line(rerun, MAX_LINE)}", "strong")
    yield Line("")
    if reason := one_line(summary["reason"], MAX_LINE):
        yield Line(f"The run ended early: {reason}", "warn")
    yield Line(one_line(summary["verdict"], MAX_LINE), _style(summary["exit_code"]))


def _cost(cost: Mapping[str, Any] | None) -> Iterator[Line]:
    if cost is None:
        return
    without = f" (without {one_line(cost['leaves_out'])})" if cost["leaves_out"] else ""
    yield from _heading(f"Estimated cost{without}:")
    for currency, amount in cost["by_currency"].items():
        yield Line(f"  {money(amount, currency):>12}  in all")
    for name, each in islice(cost["sandboxes"].items(), MAX_NAMES):
        yield Line(f"  {money(each['amount'], each['currency']):>12}  {name_line(name)}, {duration(each['seconds'])}")
    yield from _more(len(cost["sandboxes"]))


def _style(exit_code: int) -> str:
    return {0: "good", 2: "warn", 3: "warn"}.get(exit_code, "bad")


def _heading(text: str) -> Iterator[Line]:
    yield Line("")
    yield Line(text, "strong")


def _more(length: int) -> Iterator[Line]:
    if length > MAX_NAMES:
        yield Line(f"  … and {length - MAX_NAMES} more, in summary.json")


def _names(title: str, tests: Sequence[Mapping[str, Any]], *keys: str) -> Iterator[Line]:
    if not tests:
        return
    yield from _heading(title)
    for test in tests[:MAX_NAMES]:
        said = ": ".join(text for key in keys if (text := one_line(str(test[key] or ""), 120)))
        yield Line(f"  {name_line(test['id'])}" + (f"  ({said})" if said else ""))
    yield from _more(len(tests))


def _flaky(tests: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    if not tests:
        return
    yield from _heading("Flaky tests (failed, then passed):")
    for test in tests[:MAX_NAMES]:
        message = one_line(test["message"] or "", 200)
        place = f" on {name_line(test['sandbox'])}" if test["sandbox"] else ""
        yield Line(f"  {name_line(test['id'])}")
        yield Line(f"    {test['outcome'].replace('_', ' ')}{place}{f': {message}' if message else ''}", "dim")
    yield from _more(len(tests))


def _not_run(tests: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Names under each reason, because one reason usually holds for many."""
    by_reason: dict[str, list[str]] = {}
    for test in tests:
        by_reason.setdefault(one_line(test["reason"]), []).append(test["id"])
    for reason, names in islice(by_reason.items(), MAX_NAMES):
        yield from _heading(f"Not run ({count(len(names), 'test')}): {reason}")
        for name in names[:MAX_NAMES]:
            yield Line(f"  {name_line(name)}", "warn")
        yield from _more(len(names))


def _results(summary: Mapping[str, Any]) -> Iterator[Line]:
    counts: Mapping[str, int] = summary["counts"]
    bad = {state: counts[state] for state in ("failed", "error", "timed_out", "crashed")}
    kinds = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in bad.items() if number)
    failed = sum(bad.values())
    yield from _heading("Test Results:")
    rows: list[tuple[str, object, bool, str]] = [
        ("Total", summary["total"], True, ""),
        ("Passed", counts["passed"] + counts["flaky"] + counts["xpassed"], True, ""),
        ("Failed", f"{failed} ({kinds})" if failed and failed != counts["failed"] else failed, True, "bad"),
        ("Skipped", counts["skipped"], bool(counts["skipped"]), ""),
        ("Expected failures", counts["xfailed"], bool(counts["xfailed"]), ""),
        ("Unexpected passes", counts["xpassed"], bool(counts["xpassed"]), ""),
        ("Not Run", counts["not_run"], bool(counts["not_run"]), "warn"),
        ("Flaky", counts["flaky"], bool(counts["flaky"]), "warn"),
        ("Duration", duration(summary["wall_seconds"]), True, ""),
    ]
    for label, value, shown, style in rows:
        if shown:
            yield Line(f"  {label + ':':<19}{value}", style if value else "")
