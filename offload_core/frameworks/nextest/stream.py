"""What `cargo nextest run` prints while it runs: an event per line for tests, and lines for people.

nextest's JSON (`libtest-json-plus`) tells when a test starts and ends, and what a failed one printed, but not what its
process died of. The line for people before the event does. Both come through one pipe, so their order is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from ...abc import Outcome
from ..output import seconds

# A test's name stands in it as it is, even where that makes it no JSON: quotes and backslashes are not escaped. A very
# long line comes in pieces, of which the first one tells enough.
_EVENT = re.compile(
    r'\{"type":"test","event":"(?P<event>\w+)","name":"(?P<name>.*?)"(?:\}|,"exec_time":(?P<exec_time>[^,}]+)'
    r'(?:,"reason":"(?P<reason>[^"]*)")?(?:\}|,"stdout":"(?P<stdout>.*)))'
)
_REPEATED = re.compile(r"(.*)#(\d{1,6})")
_STATUS = re.compile(r" *(?P<attempt>TRY \d+ )?(?P<words>[A-Z].*?) \[ *[\d.]+s\] (?:\( *\d+/\d+\) )?(?P<id>.+)")
CANCELLED = re.compile(r" *Cancell?ing\b.*")
"""A line that says that nextest was told to end before its work."""

_KNOWN_SHORT = frozenset({"FAIL", "FL+LK", "XFAIL", "LKFAIL", "TMT", "PASS", "LEAK", "TMPASS", "SLOW", "TRMNTG"})
_PANIC = re.compile(r"panicked at (?P<where>.+):\n(?P<why>(?:(?!stack backtrace:|note: run with).*\n?)*)")
_TIME_LIMIT = "time limit exceeded"
_LEAKY = "it left processes behind that hold on to its output"
_IN_WORDS = {"LEAK-FAIL": _LEAKY, "LKFAIL": _LEAKY, "XFAIL": "its process could not be started"}


@frozen(kw_only=True)
class Event:
    """One event of a test."""

    kind: str  # "started", "ok", "failed" or "ignored"
    # `package::binary$test`, and how often nextest itself has run it; where that is not clear, all that could be meant,
    # likeliest first
    names: Sequence[tuple[str, int]]
    seconds: float = 0.0  # of the last attempt
    output: str = ""  # what it printed; of failed ones only
    reason: str = ""  # why it failed, where its output does not tell


@frozen
class Status:
    """How a test ended, as nextest tells people. `died_of`: the signal, if that is how."""

    id: str
    words: str
    died_of: str = ""


def event(line: str) -> Event | None:
    """The event of a test that a line is, if it is one."""
    if not line.startswith('{"type":"test"'):
        return None
    found = _EVENT.fullmatch(line)
    fields: Mapping[str, str] = found.groupdict(default="") if found else _object(line)
    name = fields.get("name", "")
    repeated = _REPEATED.fullmatch(name)
    names = [(name, 1), *([(repeated[1], int(repeated[2]))] if repeated else [])]
    return Event(
        kind=fields.get("event", ""),
        names=[*names, *((_unescaped(each), attempts) for each, attempts in names)],
        seconds=seconds(fields.get("exec_time", "")),
        output=_unescaped(fields.get("stdout", "").removesuffix('"}')),
        reason=fields.get("reason", ""),
    )


def status(line: str) -> Status | None:
    """What a line for people tells of the end of a test."""
    found = _STATUS.fullmatch(line)
    if found is None:
        return None
    words = died_of = found["words"]
    if not words.startswith(("SIG", "ABORT")):
        died_of = f"SIG{words}" if found["attempt"] and words not in _KNOWN_SHORT else ""
    return Status(found["id"], words, died_of)


def outcome(event: Event, attempts: int, told: Status | None) -> tuple[Outcome, str]:
    """How a test did that has ended, and why in a line."""
    if event.kind == "ignored":
        return Outcome.SKIPPED, "#[ignore]"
    if event.kind == "ok":
        again = f"passed at attempt {attempts}, by the retries of nextest's own configuration"
        return Outcome.PASSED, again if attempts > 1 else ""
    if event.reason == _TIME_LIMIT:
        return Outcome.TIMED_OUT, "took longer than nextest's own configuration allows (slow-timeout), and was ended"
    if told is not None and told.died_of:
        return Outcome.CRASHED, f"its process died of {told.died_of}"
    words = _IN_WORDS.get(told.words, "") if told is not None else ""
    return Outcome.FAILED, words or event.reason or _said(event.output)


def _said(output: str) -> str:
    """Of what a failed test printed, why it failed: the panic, else the last line."""
    if panic := _PANIC.search(output):
        return f"{panic['why'].strip()} ({panic['where']})"
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it printed nothing")


def _object(line: str) -> dict[str, str]:
    """The fields of an event that has others, too, or in another order."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {name: str(value) for name, value in fields.items()}


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
