"""`summary.md`: a run on one page, as Markdown that GitHub and others show.

Names and texts from a sandbox stand in code spans, code blocks or escaped HTML, and nowhere else: they cannot become
markup, whatever they hold.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ..abc import State
from ..kit import cut
from ..ledger import Record
from .accounting import Accounting
from .sanitize import name_line, one_line, printable
from .words import by_reason, count, duration, incident, tone, total_cost, words

MAX_BYTES = 900_000
"""GitHub takes at most 1 MiB from one step."""

MAX_DETAILS = 100
"""Failures with their text; of the rest there are names."""
MAX_NAMES = 100
MAX_TEXT = 8_000
"""Characters of one failure."""

_LEFT_OUT = "\n… and more, which has no room here; it is in the other reports.\n"

_SIGNS = {"good": "✅", "warn": "⚠️", "bad": "❌"}
_RANKS = {State.ERROR: 0, State.CRASHED: 1, State.TIMED_OUT: 2, State.FAILED: 3}


def summary_markdown(accounting: Accounting, summary: Mapping[str, Any], limit: int = MAX_BYTES) -> Iterator[str]:
    """The page, in pieces that are at most `limit` bytes of UTF-8 together.

    Args:
        summary: what `offload_core.results.summary.summarize` returns for this accounting.
    """
    room = limit - len(_LEFT_OUT.encode())
    for part in _parts(accounting, summary):
        room -= len(part.encode(errors="backslashreplace"))
        if room < 0:
            yield _LEFT_OUT
            return
        yield part


def ranked(accounting: Accounting) -> list[Record]:
    """The tests that failed, the most telling first: what breaks many before what breaks itself, and of those that
    say the same, the others after the first.
    """
    bad = [record for record in accounting.records.values() if record.state.bad]
    first: dict[tuple[State, str], str] = {}
    for record in bad:
        first.setdefault((record.state, message_of(record)), record.test.key)
    firsts = set(first.values())
    return sorted(bad, key=lambda record: (record.test.key not in firsts, _RANKS[record.state]))


def message_of(record: Record) -> str:
    """Why a test is in the state it is in, in one line."""
    attempt = record.deciding
    return one_line(attempt.message) if attempt else ""


def code(text: str) -> str:
    """A code span that shows `text`, on one line, whatever is in it."""
    line = name_line(text) or " "
    fence = _fence(line, 1)
    space = " " if line.strip(" ") != line or line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def block(text: str) -> str:
    """A code block that shows `text`, whatever is in it."""
    shown = printable(text).strip("\n")
    fence = _fence(shown, 3)
    return f"{fence}text\n{shown}\n{fence}\n"


def _fence(text: str, least: int) -> str:
    return "`" * max([least, *(len(ticks) + 1 for ticks in re.findall("`+", text))])


def _parts(accounting: Accounting, summary: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_heading(summary)}\n\n"
    yield from _numbers(summary)
    for group, error in summary["discovery_errors"].items():
        yield f"\n## Tests that could not be listed\n\nGroup {code(group)}:\n\n{block(cut(error, MAX_TEXT))}"
    yield from _failures(ranked(accounting))
    yield from _listed("Flaky tests", [_test(each) for each in summary["flaky"]])
    for reason, names in by_reason(summary["not_run"]).items():
        yield f"\n## {count(len(names), 'test')} not run\n\n{code(reason)}\n\n"
        yield from _items(list(map(code, names)))
    yield from _listed("Infrastructure", [code(incident(each)) for each in summary["incidents"]])
    slowest = [f"{duration(each['seconds'])} {code(each['id'])}" for each in summary["slowest"]]
    yield from _listed("Slowest tests", slowest)
    if cost := summary["cost"]:
        without = f", without {_unmarked(cost['leaves_out'])}" if cost["leaves_out"] else ""
        yield f"\nEstimated cost: {total_cost(cost)}{without}.\n"
    if files := sum(len(each["files"]) for each in summary["artefacts"]):
        yield f"\n{count(files, 'file')} of the tests brought from sandboxes.\n"
    if summary["rerun"]:
        yield f"\nRun again what has no good result: {code(summary['rerun'])}\n"


def _heading(summary: Mapping[str, Any]) -> str:
    return f"{_SIGNS[tone(summary['exit_code'])]} {html.escape(_unmarked(summary['verdict']))}"


def _unmarked(text: str) -> str:
    """Text that has no name of a test in it, without what Markdown would act on."""
    return re.sub(r"([\\`*_{}\[\]#|~@])", r"\\\1", one_line(text))


def _numbers(summary: Mapping[str, Any]) -> Iterator[str]:
    counts = [f"{number} {words(state)}" for state, number in summary["counts"].items() if number]
    sandboxes = summary["sandboxes"]
    yield f"{count(summary['total'], 'test')}: {', '.join(counts) or 'none'}.\n\n"
    died = f", {sandboxes['dead'] + sandboxes['lost']} of them died" if sandboxes["dead"] + sandboxes["lost"] else ""
    yield f"{duration(summary['wall_seconds'])} on {count(sandboxes['created'], 'sandbox')}{died}.\n"
    if summary["reason"]:
        yield f"\nThe run ended early:\n\n{block(cut(summary['reason'], MAX_TEXT))}"


def _failures(records: list[Record]) -> Iterator[str]:
    if not records:
        return
    yield f"\n## {count(len(records), 'test')} failed\n\n"
    for record in records[:MAX_DETAILS]:
        yield _failure(record)
    yield from _items([f"{words(record.state)} {code(record.test.id)}" for record in records[MAX_DETAILS:]])


def _failure(record: Record) -> str:
    attempt = record.deciding
    texts = [attempt.message, attempt.details] if attempt else []
    if attempt and attempt.message.strip() in attempt.details:
        texts = [attempt.details]
    if attempt:
        texts += [f"--- {section.title} ---\n{section.text}" for section in attempt.output if section.text.strip()]
    text = cut("\n".join(part.strip("\n") for part in texts if part), MAX_TEXT)
    name = html.escape(name_line(record.test.id))
    state = words(record.state).upper()
    head = f"<details><summary>{state} <code>{name}</code> ({html.escape(one_line(record.test.group))})</summary>"
    return f"{head}\n\n{block(text)}\n</details>\n\n"


def _test(failure: Mapping[str, Any]) -> str:
    said = one_line(failure["message"], 200)
    return code(failure["id"]) + (f": {code(said)}" if said else "")


def _listed(title: str, items: list[str]) -> Iterator[str]:
    if items:
        yield f"\n## {title}\n\n"
        yield from _items(items)


def _items(items: list[str]) -> Iterator[str]:
    for item in islice(items, MAX_NAMES):
        yield f"- {item}\n"
    if len(items) > MAX_NAMES:
        yield f"- … and {len(items) - MAX_NAMES} more\n"
