"""The data that the page's script draws from, as JSON that can stand in a `<script>` element.

Rows are arrays, because there are thousands of them; `js/data.js` gives their fields names. Each text is cut to the
largest bound with which all texts together fit into the file's budget, and says what is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ...abc import Attempt, Outcome, State
from ...kit import cut
from ...ledger import Record
from ..sanitize import name_line, one_line
from .recorded import BUDGETS, LIMITS, MARK, Execution, Lane, Recorded

# Without these no text can end the element it stands in, and U+2028/9 end no line for any reader of JavaScript.
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}

OUTCOMES = tuple(outcome.value for outcome in Outcome)
STATES = tuple(state.value for state in State)
HEDGE, DROPPED, AGAIN, UNFINISHED = 1, 2, 4, 8


def embedded(value: Any) -> str:
    """JSON for a `<script type="application/json">` element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def page_data(recorded: Recorded) -> dict[str, Any]:
    """All tests, sandboxes and incidents. Times in seconds since the run started, to the millisecond."""
    records = recorded.accounting.records.values()
    limits = {bad: _fitting(_texts(records, bad=bad), budget) for bad, budget in BUDGETS.items()}
    lanes = {name: number for number, name in enumerate(recorded.lanes)}
    groups = _numbered(record.test.group for record in records)
    paths = _numbered(record.test.path for record in records)
    return {
        "end": _time(recorded.accounting.now),
        "states": STATES,
        "outcomes": OUTCOMES,
        "groups": [name_line(name) for name in groups],
        "paths": [name_line(path) for path in paths],
        "lanes": [_lane(lane) for lane in recorded.lanes.values()],
        "tests": [
            [
                name_line(record.test.id),
                groups[record.test.group],
                paths[record.test.path],
                STATES.index(record.state.value),
                record.test.line or 0,
                one_line(recorded.accounting.why_not_run(record)) if record.state is State.NOT_RUN else "",
                list(_attempts(record, recorded.executions.get(record.test.key, {}), lanes, limits)),
            ]
            for record in records
        ],
        "incidents": [[_time(at), lanes.get(each.sandbox, -1), each.kind.value] for at, each in recorded.incidents],
    }


def _texts(records: Iterable[Record], *, bad: bool) -> list[str]:
    return [
        text
        for record in records
        for attempt in record.attempts
        if attempt.outcome.bad is bad
        for text in (attempt.details, *(section.text for section in attempt.output))
        if text
    ]


def _fitting(texts: list[str], budget: int) -> int:
    """The largest of `LIMITS` with which all texts fit into so many bytes; else the smallest."""
    for limit in LIMITS:
        if sum(min(len(text), limit) for text in texts) > budget:
            continue  # escaped they only get longer
        shown = (embedded(cut(text, limit, mark=MARK)) for text in texts)
        if sum(len(text.encode(errors="backslashreplace")) for text in shown) <= budget:
            return limit
    return LIMITS[-1]


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _time(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _lane(lane: Lane) -> list[Any]:
    return [
        name_line(lane.name),
        _time(lane.starting),
        _time(lane.ready),
        _time(lane.ended),
        lane.how.value if lane.how else "",
        one_line(lane.reason),
        [[_time(session.opened), _time(session.ended)] for session in lane.sessions.values()],
    ]


def _attempts(
    record: Record, executions: dict[int, Execution], lanes: dict[str, int], limits: dict[bool, int]
) -> Iterator[list[Any]]:
    """Each execution of a test; what did not count, or never ended, has no outcome."""
    attempts = {attempt.number: attempt for attempt in record.attempts}
    for number in sorted(attempts.keys() | executions.keys()):
        execution, attempt = executions.get(number), attempts.get(number)
        flags = 0
        if execution:
            flags = HEDGE * execution.hedge | DROPPED * execution.dropped | AGAIN * execution.again
        if attempt is not None:
            outcome = OUTCOMES.index(attempt.outcome.value)
            row = [number, lanes.get(attempt.sandbox, -1), outcome, _time(attempt.start), _time(attempt.duration)]
            yield [*row, flags, *_said(attempt, limits[attempt.outcome.bad])]
        elif execution is not None:
            took = None if execution.end is None else _time(execution.end - execution.start)
            flags |= UNFINISHED * (execution.end is None)
            yield [number, lanes.get(execution.sandbox, -1), -1, _time(execution.start), took, flags]


def _said(attempt: Attempt, limit: int) -> list[Any]:
    output = [[section.title, cut(section.text, limit, mark=MARK)] for section in attempt.output]
    said = [attempt.message, cut(attempt.details, limit, mark=MARK), output]
    while said and not said[-1]:
        said.pop()
    return said
