"""The page: what the template is filled with."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict

from ...abc import State
from ...events import Stamped
from ...kit import cut
from ..accounting import Accounting
from ..sanitize import name_line, one_line, printable
from ..words import count, duration, incident, money, total_cost, words
from .data import embedded, page_data
from .figures import PARTS, SLOWEST, bound_of, by_lane, slowest_modules, spent
from .recorded import Recorded

if TYPE_CHECKING:
    import jinja2

SCRIPTS = ("dom", "data", "details", "list", "tests", "scale", "paint", "timeline", "page")
"""The parts of the page's one script, in order; each knows those before it."""
FIRST_FAILURES = 5
MAX_TEXT = 16 * 1024
"""Characters of an incident's or a listing's output."""
WORST_FIRST = (
    State.FAILED,
    State.ERROR,
    State.TIMED_OUT,
    State.CRASHED,
    State.FLAKY,
    State.NOT_RUN,
    State.XPASSED,
    State.XFAILED,
    State.SKIPPED,
    State.PASSED,
)
"""States in the order in which people want to see them."""


def html_report(events: Iterable[Stamped], summary: Mapping[str, Any]) -> Iterator[str]:
    """The report on a run, in pieces.

    Args:
        events: of the run, from its journal; read to their end before the first piece is there.
        summary: what `summary.json` holds; `cost` is shown where there is one.

    Raises:
        ReportError: the events could not be read.
    """
    recorded = Recorded.of(events)
    template = _environment().get_template("report.html")
    return template.generate(**_page(recorded, summary))


def _page(recorded: Recorded, summary: Mapping[str, Any]) -> dict[str, Any]:
    from markupsafe import Markup

    accounting, lanes = recorded.accounting, _sandboxes(recorded)
    style, script = _part("report.css"), "".join(_part(f"js/{name}.js") for name in SCRIPTS)
    return {
        "summary": summary,
        "ended": accounting.finished is not None,
        "tone": _tone(accounting, summary["exit_code"]),
        "states": [(state.value, summary["counts"][state.value]) for state in WORST_FIRST],
        "facts": _facts(accounting, summary),
        "records": accounting.records,
        "index": {key: index for index, key in enumerate(accounting.records)},
        "failed": [record for record in accounting.records.values() if record.state.bad],
        "first_failures": FIRST_FAILURES,
        "bound": bound_of(recorded),
        "incidents": recorded.incidents,
        "slowest_tests": accounting.slowest(SLOWEST),
        "slowest_modules": slowest_modules(accounting),
        "lanes": lanes,
        "spent": {part: sum(row["spent"][part] for row in lanes) for part in PARTS},
        # all of these are ours or escaped for where they stand
        "style": Markup(style),
        "script": Markup(script),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "data": Markup(embedded(page_data(recorded))),
    }


def _facts(accounting: Accounting, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What run it was."""
    started = accounting.started
    if started is None:
        return []
    when = datetime.fromtimestamp(started.epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return [
        ("Started", when),
        ("Run", started.run_id),
        ("Framework", started.framework),
        ("Provider", started.provider),
        ("Commit", started.commit[:12]),
        ("Listed after", _seconds(summary["discovery_seconds"])),
        ("Command", shlex.join([Path(started.argv[0]).name, *started.argv[1:]]) if started.argv else ""),
    ]


def _tone(accounting: Accounting, exit_code: int) -> str:
    """`good`, `warn` or `bad`."""
    if accounting.finished is not None and not exit_code:
        return "good"
    return "bad" if any(state.bad for state in accounting.counts()) else "warn"


def _sandboxes(recorded: Recorded) -> list[dict[str, Any]]:
    """Each sandbox, and where its time went."""
    executions, end = by_lane(recorded), recorded.accounting.now
    return [
        {"lane": lane, "tests": len(executions[name]), "spent": spent(lane, executions[name], end)}
        for name, lane in recorded.lanes.items()
    ]


def _seconds(seconds: float) -> str:
    """As the console writes them, but for the shortest: `3ms`."""
    return f"{1000 * seconds:.0f}ms" if seconds < 0.0995 else duration(seconds)


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a Content-Security-Policy names an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": _seconds,
        "name": name_line,
        "line": one_line,
        "text": lambda text: printable(cut(text, MAX_TEXT)),
        "words": words,
        "count": count,
        "incident": lambda event: incident({**asdict(event), "requeued": (), "suspects": ()}),  # the page links to them
        "money": money,
        "total_cost": total_cost,
        "share": lambda part, whole: f"{100 * part / whole:.1f}" if whole else "0",
    }
    return environment
