"""The words of the console: pure functions from what is known to lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from ...abc import Attempt
from ...kit import cut
from ...ledger import Record
from ..sanitize import name_line, one_line, printable
from ..words import by_reason, count, duration, incident, money, tone, words
from .printer import Line

T = TypeVar("T")

MAX_FAILURE_LINES = 200
MAX_LINE = 2000
"""Characters of a line; the rest is in the reports."""
MAX_NAMES = 20
"""Names listed of any kind of thing at the end."""


def failure(record: Record, attempt: Attempt, full_text: str) -> Iterator[Line]:
    """A test that failed in the end, with everything known of its last attempt, within bounds.

    Args:
        full_text: where the rest can be read, e.g. `test-results/junit.xml`.
    """
    yield Line("")
    yield failure_head(record, attempt)
    body = list(islice(_body(attempt), MAX_FAILURE_LINES + 1))
    yield from body[:MAX_FAILURE_LINES]
    if len(body) > MAX_FAILURE_LINES:
        yield Line(f"  [… more than {MAX_FAILURE_LINES} lines; full text in {full_text} …]", "dim")


def failure_head(record: Record, attempt: Attempt) -> Line:
    """The line that names a failure and says where it happened."""
    where = [f"group {name_line(record.test.group)}"] if record.test.group else []
    if attempt.sandbox:
        where.append(f"sandbox {name_line(attempt.sandbox)}")
    if len(record.attempts) > 1:
        where.append(f"attempt {attempt.number} of {len(record.attempts)}")
    where.append(duration(attempt.duration))
    return Line(f"{words(attempt.outcome).upper()} {name_line(record.test.id)}  ({', '.join(where)})", "bad")


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


def ending(summary: Mapping[str, Any]) -> Iterator[Line]:
    """What is printed on stdout at the end of a run, from what `summary.json` holds."""
    yield from _listed("Flaky tests (failed, then passed):", summary["flaky"], _flaky)
    yield from _listed("Failed tests:", summary["failures"], _failed)
    for reason, names in islice(by_reason(summary["not_run"]).items(), MAX_NAMES):
        title = f"Not run ({count(len(names), 'test')}): {reason}"
        yield from _listed(title, names, lambda name: [Line(f"  {name_line(name)}", "warn")])
    incidents = summary["incidents"]
    title = f"Infrastructure ({count(len(incidents), 'incident')}):"
    yield from _listed(title, incidents, lambda each: [Line(f"  {incident(each)}", "warn")])
    for group, error in summary["discovery_errors"].items():
        yield from _heading(f"Group {name_line(group)} could not be listed:")
        yield from _indented(cut(error, 10_000))
    if slowest := summary["slowest"]:
        yield from _heading("Slowest tests:")
        for each in slowest:
            yield Line(f"  {duration(each['seconds']):>8}  {name_line(each['id'])}")
    yield from _results(summary)
    if cost := summary["cost"]:
        yield from _cost(cost)
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
    yield Line(one_line(summary["verdict"], MAX_LINE), tone(summary["exit_code"]))


def _heading(text: str) -> Iterator[Line]:
    yield Line("")
    yield Line(text, "strong")


def _listed(title: str, items: Sequence[T], lines: Callable[[T], Iterable[Line]]) -> Iterator[Line]:
    """The first items under a title, and how many more there are; nothing at all where there is none."""
    if items:
        yield from _heading(title)
        for item in items[:MAX_NAMES]:
            yield from lines(item)
        yield from _more(len(items))


def _more(length: int) -> Iterator[Line]:
    if length > MAX_NAMES:
        yield Line(f"  … and {length - MAX_NAMES} more, in summary.json")


def _failed(test: Mapping[str, Any]) -> Iterator[Line]:
    message = one_line(test["message"], 120)
    yield Line(f"  {name_line(test['id'])}  ({test['state']}{f': {message}' if message else ''})")


def _flaky(test: Mapping[str, Any]) -> Iterator[Line]:
    message = one_line(test["message"], 200)
    place = f" on {name_line(test['sandbox'])}" if test["sandbox"] else ""
    yield Line(f"  {name_line(test['id'])}")
    yield Line(f"    {words(test['outcome'])}{place}{f': {message}' if message else ''}", "dim")


def _results(summary: Mapping[str, Any]) -> Iterator[Line]:
    counts: Mapping[str, int] = summary["counts"]
    bad = {state: counts[state] for state in ("failed", "error", "timed_out", "crashed")}
    kinds = ", ".join(f"{number} {words(state)}" for state, number in bad.items() if number)
    failed = sum(bad.values())
    always = [
        ("Total", summary["total"], ""),
        ("Passed", counts["passed"] + counts["flaky"] + counts["xpassed"], ""),
        ("Failed", f"{failed} ({kinds})" if failed and failed != counts["failed"] else failed, "bad"),
    ]
    some = [
        ("Skipped", counts["skipped"], ""),
        ("Expected failures", counts["xfailed"], ""),
        ("Unexpected passes", counts["xpassed"], ""),
        ("Not Run", counts["not_run"], "warn"),
        ("Flaky", counts["flaky"], "warn"),
    ]
    yield from _heading("Test Results:")
    for label, value, style in (*always, *(row for row in some if row[1])):
        yield Line(f"  {label + ':':<19}{value}", style if value else "")
    yield Line(f"  {'Duration:':<19}{duration(summary['wall_seconds'])}")


def _cost(cost: Mapping[str, Any]) -> Iterator[Line]:
    without = f" (without {one_line(cost['leaves_out'])})" if cost["leaves_out"] else ""
    yield from _heading(f"Estimated cost{without}:")
    for currency, amount in cost["by_currency"].items():
        yield Line(f"  {money(amount, currency):>12}  in all")
    for name, each in islice(cost["sandboxes"].items(), MAX_NAMES):
        yield Line(f"  {money(each['amount'], each['currency']):>12}  {name_line(name)}, {duration(each['seconds'])}")
    yield from _more(len(cost["sandboxes"]))
