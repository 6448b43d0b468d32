"""The words that all reports share: pure functions from what is known to text on one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..events import IncidentKind
from .sanitize import name_line, one_line


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


def total_cost(cost: Mapping[str, Any]) -> str:
    """The amounts of all currencies, from the summary's `cost`."""
    return " and ".join(money(amount, currency) for currency, amount in cost["by_currency"].items())


def words(name: str) -> str:
    """The name of a state, an outcome or the like as people write it: `timed out`."""
    return name.replace("_", " ")


def tone(exit_code: int) -> str:
    """Whether an exit code is `good`, `warn` or `bad` news."""
    return {0: "good", 2: "warn", 3: "warn"}.get(exit_code, "bad")


def by_reason(not_run: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The ids of the summary's `not_run` under each reason, because one reason usually holds for many."""
    found: dict[str, list[str]] = {}
    for test in not_run:
        found.setdefault(one_line(test["reason"]), []).append(test["id"])
    return found


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


def incident(what: Mapping[str, Any]) -> str:
    """One of the summary's `incidents`."""
    known = _INCIDENTS[IncidentKind(what["kind"])]
    text = known.format(sandbox=name_line(what["sandbox"]), session=name_line(what["session"]))
    if reason := one_line(what["reason"], 300):
        text += f" ({reason})"
    effects = []
    if requeued := len(what["requeued"]):
        effects.append(f"{count(requeued, 'test')} run{'s' if requeued == 1 else ''} again elsewhere")
    if suspects := what["suspects"]:
        more = f" and {len(suspects) - 3} more" if len(suspects) > 3 else ""
        effects.append(f"suspected: {', '.join(name_line(name, 200) for name in suspects[:3])}{more}")
    return f"{text}: {'; '.join(effects)}" if effects else text
