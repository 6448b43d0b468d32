"""The summary of a run: `summary.json`, and what the console prints at the end is made from it."""

from __future__ import annotations

import json
import shlex
import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..abc import State
from ..config.schema import DEFAULT_FILE
from ..events import CostEstimated, Incident
from ..kit import cut
from ..ledger import Record
from .accounting import Accounting, ExitCode

SCHEMA = 1
"""The version of `summary.json`; raised when a key is removed or changes its meaning."""
SLOWEST = 5
MAX_MESSAGE = 4096
DIGITS = 6
"""Decimal places of amounts: a second of a sandbox is a tiny part of a unit."""

MEANINGS: Mapping[int, str] = {
    ExitCode.OK: "every test passed, was skipped, or failed as expected",
    ExitCode.TESTS_FAILED: "tests failed, erred, timed out or crashed",
    ExitCode.FLAKY: "all tests passed, some only when they were run again",
    ExitCode.INFRASTRUCTURE: "nothing failed, but tests are without a verdict or a report could not be written",
    ExitCode.USAGE: "usage or configuration error",
    ExitCode.NO_TESTS: "no tests were found",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


def summarize(
    accounting: Accounting, exit_code: int, *, reports: Mapping[str, str], report_failures: Sequence[str] = ()
) -> dict[str, Any]:
    """What `summary.json` holds, as plain values. Times in seconds, tests by their id.

    Args:
        reports: paths of what was written, by kind.
        report_failures: what could not be written, in words.
    """
    records = accounting.records.values()
    counts = accounting.counts()
    failures = [_failure(record) for record in records if record.state.bad]
    unknown = [record for record in records if record.state is State.NOT_RUN]
    not_run = [{**_name(record), "reason": accounting.why_not_run(record)} for record in unknown]
    return {
        "schema": SCHEMA,
        **_run(accounting),
        "exit_code": exit_code,
        "meaning": MEANINGS.get(exit_code, ""),
        "verdict": verdict(accounting, exit_code, report_failures),
        "reason": accounting.finished.reason if accounting.finished else "",
        "interrupted": signal.Signals(accounting.interrupted.signal).name if accounting.interrupted else None,
        "total": len(records),
        "counts": {state.value: counts[state] for state in State},
        "wall_seconds": round(accounting.now, 3),
        "discovery_seconds": round(accounting.discovered_at, 3),
        "sandboxes": _sandboxes(accounting),
        "incidents": [incident_entry(accounting, each) for each in accounting.incidents],
        "discovery_errors": accounting.discovery_errors,
        "warnings": accounting.warnings,
        "failures": failures,
        "flaky": [_failure(record) for record in records if record.state is State.FLAKY],
        "not_run": not_run,
        "slowest": [{**_name(record), "seconds": round(seconds, 3)} for seconds, record in accounting.slowest(SLOWEST)],
        "cost": cost_of(accounting.costs),
        "artefacts": [
            {"sandbox": each.sandbox, "session": each.session, "files": list(each.files), "size": each.size}
            for each in accounting.artefacts
        ],
        "rerun": rerun_command(accounting) if failures or not_run else None,
        "reports": dict(reports),
        "report_failures": list(report_failures),
    }


def verdict(accounting: Accounting, exit_code: int, report_failures: Sequence[str] = ()) -> str:
    """One sentence on the run."""
    counts = accounting.counts()
    if accounting.interrupted:
        return f"Interrupted by {signal.Signals(accounting.interrupted.signal).name}."
    if any(state.bad for state in counts):
        return "Some tests failed."
    if accounting.discovery_errors:
        return f"Tests could not be listed for: {', '.join(accounting.discovery_errors)}."
    if counts[State.NOT_RUN]:
        return f"No test failed, but {counts[State.NOT_RUN]} of {len(accounting.records)} were not run."
    if not counts:
        return "No tests were found."
    if report_failures:
        return "All tests passed, but not every report could be written."
    if counts[State.FLAKY] and exit_code != ExitCode.OK:
        return f"All tests passed, {counts[State.FLAKY]} only when run again (flaky)."
    return "All tests passed!"


def rerun_command(accounting: Accounting) -> str:
    """The command that runs again what has no good verdict."""
    words = ["offload", "run", "--last-failed"]
    path = accounting.started.config_path if accounting.started else ""
    if path and Path(path).resolve() != Path(DEFAULT_FILE).resolve():
        words += ["-c", path]
    return shlex.join(words)


def incident_entry(accounting: Accounting, incident: Incident) -> dict[str, Any]:
    """An incident as the summary has it, with tests by their id."""
    return {
        "kind": incident.kind.value,
        "sandbox": incident.sandbox,
        "session": incident.session,
        "reason": incident.reason,
        "requeued": list(map(accounting.id_of, incident.requeued)),
        "suspects": list(map(accounting.id_of, incident.suspects)),
    }


def cost_of(costs: Iterable[CostEstimated]) -> dict[str, Any] | None:
    """What `summary.json` holds as `cost`; None if the provider states no prices.

    `amount` and `currency` are those of the whole run, both None if there are several currencies: they are not added
    up. `sandboxes` has the amount, currency and seconds of each, `leaves_out` what the numbers leave out, in words.
    """
    costs = list(costs)
    if not costs:
        return None
    sums: dict[str, float] = defaultdict(float)
    for each in costs:
        sums[each.cost.currency] += each.cost.amount
    by_currency = {currency: round(amount, DIGITS) for currency, amount in sums.items()}
    currency, amount = next(iter(by_currency.items())) if len(by_currency) == 1 else (None, None)
    return {
        "amount": amount,
        "currency": currency,
        "by_currency": by_currency,
        "leaves_out": "; ".join(dict.fromkeys(each.cost.leaves_out for each in costs if each.cost.leaves_out)),
        "sandboxes": {
            each.sandbox: {
                "amount": round(each.cost.amount, DIGITS),
                "currency": each.cost.currency,
                "seconds": round(each.seconds, 3),
            }
            for each in costs
        },
    }


def summary_json(summary: Mapping[str, Any]) -> str:
    """The text of `summary.json`. ASCII, so that text no encoding can carry is still there."""
    return json.dumps(summary, indent=2) + "\n"


def _run(accounting: Accounting) -> dict[str, Any]:
    started = accounting.started
    if started is None:
        return {}
    names = ("offload", "run_id", "epoch", "provider", "framework", "max_parallel", "config_path", "commit")
    return {**{name: getattr(started, name) for name in names}, "argv": list(started.argv)}


def _name(record: Record) -> dict[str, Any]:
    return {"id": record.test.id, "group": record.test.group}


def _failure(record: Record) -> dict[str, Any]:
    """A test that failed at least once, with the last attempt that did."""
    attempt = record.bad_attempts[-1]
    return {
        **_name(record),
        "state": record.state.value,
        "outcome": attempt.outcome.value,
        "message": cut(attempt.message, MAX_MESSAGE, mark=" [… {left_out} characters left out …] "),
        "file": record.test.file,
        "line": record.test.line,
        "attempts": len(record.attempts),
        "sandbox": attempt.sandbox,
        "session": attempt.session,
    }


def _sandboxes(accounting: Accounting) -> dict[str, int]:
    ended = accounting.sandboxes_ended
    return {
        "created": accounting.sandboxes_ready,
        "most_at_once": accounting.sandboxes_peak,
        "replaced": accounting.sandboxes_replaced,
        **{how: ended[how] for how in ("terminated", "dead", "lost", "not_created")},
        "not_ended_yet": len(accounting.sandboxes_alive) + len(accounting.sandboxes_starting),
    }
