"""Writes JUnit XML.

One testsuite per group. A testcase's name is the whole canonical id. What the format has no word for goes by the
conventions that CI systems know:

- `failed` is a failure; `error`, `timed_out` and `crashed` are errors, with the state as their type;
- further attempts follow Surefire: a test that failed in the end has its first bad attempt as `failure` or `error` and
  the others as `rerunFailure` or `rerunError`; a flaky one has its bad attempts as `flakyFailure` or `flakyError`;
- `xfailed` is skipped, as pytest writes it, and `xpassed` has passed;
- `not_run` is skipped with the reason, because nothing is known against the test. Its exit code tells such a run from a
  good one, and so does the property `offload.state`, which names each state that the element does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from ..abc import Attempt, Outcome, State
from ..kit import cut, xml_legal
from ..ledger import Record
from .accounting import Accounting
from .sanitize import printable

MAX_TEXT = 256 * 1024
"""Characters of a traceback or of one kind of captured output."""
MAX_MESSAGE = 4096
"""Characters of an attribute."""

_EXPRESSIBLE = (State.PASSED, State.SKIPPED, State.FAILED, State.ERROR)


def junit_xml(accounting: Accounting) -> Iterator[str]:
    """The report, in pieces."""
    names = accounting.started.groups if accounting.started else ()
    groups: dict[str, list[Record]] = {name: [] for name in names}
    for record in accounting.records.values():
        groups.setdefault(record.test.group, []).append(record)
    counts = {name: Counter(map(_element, records)) for name, records in groups.items()}
    total = sum(counts.values(), Counter[str]())
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield f"<testsuites {_attributes('offload', len(accounting.records), total, accounting.now)}>\n"
    timestamp = ""
    if accounting.started:
        when = datetime.fromtimestamp(accounting.started.epoch, UTC)
        timestamp = f' timestamp="{when.isoformat(timespec="seconds")}"'
    for name, records in groups.items():
        seconds = sum(attempt.duration for record in records for attempt in record.attempts)
        yield f"<testsuite {_attributes(name, len(records), counts[name], seconds)}{timestamp}>\n"
        for record in records:
            yield "".join(_testcase(record, accounting))
        yield "</testsuite>\n"
    yield "</testsuites>\n"


def _attributes(name: str, tests: int, counts: Counter[str], seconds: float) -> str:
    return (
        f'name={_quoted(name)} tests="{tests}" failures="{counts["failure"]}" errors="{counts["error"]}" '
        f'skipped="{counts["skipped"]}" time="{seconds:.3f}"'
    )


def _element(record: Record) -> str:
    """The child element that says how a test ended; empty for one that passed."""
    state = record.state
    if state.bad:
        return _kind(record.bad_attempts[0])
    return "skipped" if state in (State.SKIPPED, State.XFAILED, State.NOT_RUN) else ""


def _kind(attempt: Attempt) -> str:
    return "failure" if attempt.outcome is Outcome.FAILED else "error"


def _testcase(record: Record, accounting: Accounting) -> Iterator[str]:
    test, state, attempt = record.test, record.state, record.deciding
    yield f"<testcase name={_quoted(test.id)} classname={_quoted(class_name(test.id, test.path))}"
    if test.file:
        yield f" file={_quoted(test.file)}"
    if test.line is not None:
        yield f' line="{test.line}"'
    yield f' time="{attempt.duration if attempt else 0.0:.3f}">'
    yield from _properties(record)
    if state is State.NOT_RUN:
        yield f"<skipped message={_quoted(f'not run: {accounting.why_not_run(record)}')}/>"
    elif state is State.FLAKY:
        for bad in record.bad_attempts:
            yield from _rerun(f"flaky{_kind(bad).capitalize()}", bad)
    elif state.bad:
        first, *others = record.bad_attempts
        yield f"<{_kind(first)}{_described(first)}>{_text(first.details)}</{_kind(first)}>"
        for bad in others:
            yield from _rerun(f"rerun{_kind(bad).capitalize()}", bad)
    elif attempt and state in (State.SKIPPED, State.XFAILED):
        kind = "pytest.xfail" if state is State.XFAILED else "pytest.skip"
        yield f'<skipped type="{kind}" message={_quoted(printable(attempt.message))}>{_text(attempt.details)}</skipped>'
    if attempt:
        # With several bad attempts, the outputs of the others stand in their own elements.
        yield from _output(record.bad_attempts[0] if state.bad else attempt)
    yield "</testcase>\n"


def class_name(test_id: str, path: str) -> str:
    """The dotted name that JUnit groups by: `tests.test_a.TestX` for `tests/test_a.py::TestX::test_y[1]`."""
    scopes = test_id.removeprefix(path).partition("[")[0].split("::")[1:-1] if test_id.startswith(path) else []
    return ".".join([path.removesuffix(".py").strip("/").replace("/", "."), *scopes])


def _properties(record: Record) -> Iterator[str]:
    attempt = record.deciding
    properties = list(attempt.properties) if attempt else []
    if record.state not in _EXPRESSIBLE:
        properties.append(("offload.state", record.state.value))
    if len(record.attempts) > 1:
        properties.append(("offload.attempts", str(len(record.attempts))))
    if properties:
        yield "<properties>"
        for name, value in properties:
            yield f"<property name={_quoted(name)} value={_quoted(value)}/>"
        yield "</properties>"


def _rerun(tag: str, attempt: Attempt) -> Iterator[str]:
    yield f'<{tag}{_described(attempt)} time="{attempt.duration:.3f}"><stackTrace>{_text(attempt.details)}</stackTrace>'
    yield from _output(attempt)
    yield f"</{tag}>"


def _described(attempt: Attempt) -> str:
    return f' type="{attempt.outcome.value}" message={_quoted(printable(attempt.message))}'


def _output(attempt: Attempt) -> Iterator[str]:
    """Captured output: sections about stderr as `system-err`, all others as `system-out`, each under its title."""
    errors = [section for section in attempt.output if "stderr" in section.title]
    others = [section for section in attempt.output if "stderr" not in section.title]
    for tag, sections in (("system-out", others), ("system-err", errors)):
        if sections:
            text = "\n".join(f"--- {section.title} ---\n{section.text}" for section in sections)
            yield f"<{tag}>{_text(text)}</{tag}>"


def _text(text: str) -> str:
    return escape(xml_legal(printable(cut(text, MAX_TEXT))))


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and len(text) <= MAX_MESSAGE and not set(text) & set('<&>"'):
        return f'"{text}"'
    return quoteattr(xml_legal(cut(text, MAX_MESSAGE, mark=" [… {left_out} characters left out …] ")))
