"""The journal, `events.jsonl`: every event of a run, one JSON object a line, enough to rebuild all else.

    {"at":1.234,"event":"AttemptFinished","attempt":{…}}

It is append-only, and each line is in the file before the next event is handled. Field names and types are those of
`offload_core.events`. A reader ignores events and fields that it does not know, and refuses a newer `SCHEMA`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs

from ..errors import ReportError
from ..events import SCHEMA, Event, LogLine, PrepareProgress, RunStarted, Stamped

if TYPE_CHECKING:
    import cattrs

EVENTS: dict[str, type[Event]] = {event.__name__: event for event in get_args(Event)}
NOT_IN_JOURNAL = frozenset({LogLine, PrepareProgress})
"""Output, which goes to `logs/` and to the console."""


_fields = cache(attrs.fields_dict)


def _as_dict(value: Any) -> dict[str, Any]:
    """One level of an attrs object; the encoder asks again for what is nested."""
    cls: type[attrs.AttrsInstance] = type(value)
    return {name: getattr(value, name) for name in _fields(cls)}


# ASCII only: a lone surrogate, as in undecodable output, has no UTF-8 form, but it has an escape.
_encode = json.JSONEncoder(default=_as_dict, separators=(",", ":"), check_circular=False).encode


def encoded(stamped: Stamped) -> bytes:
    """The journal's line for an event, with its line break."""
    event = stamped.event
    line = {"at": round(stamped.at, 6), "event": type(event).__name__, **_as_dict(event)}
    return f"{_encode(line)}\n".encode("ascii")


class AppendOnlyFile:
    """A file that whole lines are written to without a buffer. After a failure it is closed and takes nothing more.

    Args:
        failures: gets one `ReportError` if the file cannot be opened or written.
        fresh: drop what is in the file.
    """

    def __init__(self, path: Path, failures: list[ReportError], *, fresh: bool = True) -> None:
        self.path = path
        self._failures = failures
        self._fd = -1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if fresh else 0)
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            self._fail(error)

    def append(self, line: bytes) -> None:
        """Write `line`, which ends in a line break."""
        if self._fd < 0:
            return
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # a disk that is filling up takes part of it, then raises
                written += os.write(self._fd, line[written:])
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fail(self, error: OSError) -> None:
        self._failures.append(ReportError(f"{self.path} could not be written: {error.strerror or error}"))
        self.close()


class JournalWriter(AppendOnlyFile):
    """A consumer that writes a new journal."""

    def __call__(self, stamped: Stamped) -> None:
        """Append the event."""
        if type(stamped.event) not in NOT_IN_JOURNAL:
            self.append(encoded(stamped))


def read_journal(path: Path, note: Callable[[str], None] = lambda text: None) -> Iterator[Stamped]:
    """The events of a journal, in order.

    Args:
        note: told of what was skipped: a last line that was cut, events with values this version does not know.

    Raises:
        ReportError: there is no journal there, it is damaged, or it was written in a newer format.
    """
    try:
        with path.open("rb") as lines:
            yield from _decoded(path, lines, note)
    except FileNotFoundError:
        raise ReportError(f"there is no journal at {path}") from None
    except OSError as error:
        raise ReportError(f"{path} could not be read: {error.strerror or error}") from error


def _decoded(path: Path, lines: Iterator[bytes], note: Callable[[str], None]) -> Iterator[Stamped]:
    converter = _converter()
    for number, raw in enumerate(lines, 1):
        if not raw.endswith(b"\n"):
            note(f"{path}, line {number}: cut short, skipped")
            return
        try:
            line = json.loads(raw)
            at, name = float(line["at"]), line["event"]
        except (ValueError, TypeError, KeyError):
            raise ReportError(f"{path}, line {number}: not an event of Offload's journal") from None
        if number == 1:
            _check_schema(path, line)
        if name not in EVENTS:
            continue
        try:
            event = converter.structure(line, EVENTS[name])
        except ValueError as error:
            note(f"{path}, line {number}: {name} is of a newer kind, skipped: {error}")
            continue
        except (TypeError, KeyError, AttributeError) as error:
            raise ReportError(f"{path}, line {number}: {name} is damaged: {error!r}") from error
        yield Stamped(at, event)


def _check_schema(path: Path, line: dict[str, Any]) -> None:
    if line["event"] != RunStarted.__name__ or not isinstance(line.get("schema"), int):
        raise ReportError(f"{path} is not a journal of Offload: it does not begin with {RunStarted.__name__}")
    if line["schema"] > SCHEMA:
        raise ReportError(
            f"{path} was written by Offload {line.get('offload', '?')} in format {line['schema']}; this version reads "
            f"up to {SCHEMA}. Upgrade Offload, or remove the file."
        )


@cache
def _converter() -> cattrs.Converter:
    import cattrs  # only readers need it

    return cattrs.Converter(detailed_validation=False)
