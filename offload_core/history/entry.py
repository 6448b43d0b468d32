"""What the history knows of one test, and the line of the file that holds it.

    {"k":["offload.toml","tests/test_a.py::test_b"],"v":{"n":47,"f":3,"last_run":"aKx7",
    "ok":[["aKx7",1712000000000,2.1]],"fail":[["Z9pQ",1711998000000,2.3]]}}

on one line. The format is that of imbue-ai/offload, which reads what this writes and the other way round.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from attrs import define, field

Key = tuple[str, str]
"""The name of the configuration file, without its directory, and the test's canonical id."""

_FIELDS = ("n", "f", "last_run", "ok", "fail")
_LATEST_MS = 10**14
LONGEST_SECS = 10**9
"""What no clock tells is damage, and would overflow somewhere."""


class Sample(NamedTuple):
    """One attempt: the run's short name, when it began in milliseconds since 1970, and how many seconds it took."""

    run: str
    at: int
    secs: float


@define
class Entry:
    """All that is known of one test in one configuration.

    Attributes:
        attempts: how many there ever were, not only those that samples are kept of.
        failures: how many of them ended badly.
        last_run: the short name of the newest run that it was in.
        ok: samples of good attempts, oldest first where Offload wrote them.
        fail: samples of bad ones.
        more: fields of `v` that this version does not know, and `beside` those next to it: they are kept.
    """

    attempts: int = 0
    failures: int = 0
    last_run: str = ""
    ok: list[Sample] = field(factory=list)
    fail: list[Sample] = field(factory=list)
    more: dict[str, Any] = field(factory=dict)
    beside: dict[str, Any] = field(factory=dict)

    @property
    def failure_rate(self) -> float:
        """The share of attempts that failed, 0 to 1."""
        return min(self.failures / self.attempts, 1.0) if self.attempts else 0.0

    @property
    def newest(self) -> int:
        """When the newest sample began, in milliseconds since 1970; 0 if there is none."""
        return max((sample.at for samples in (self.ok, self.fail) for sample in samples), default=0)


def decode(line: str) -> tuple[Key, Entry]:
    """The key and the entry of a line.

    Raises:
        ValueError: it is not a line of a history; says why.
    """
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("not JSON that makes sense: too deep") from None
    if not isinstance(found, dict) or not isinstance(values := found.get("v"), dict):
        raise ValueError('not an object with "k" and "v"')  # noqa: TRY004 - one kind of error for whatever is wrong
    if missing := [name for name in _FIELDS if name not in values]:
        raise ValueError(f'"{missing[0]}" is missing')
    if not isinstance(values["last_run"], str):
        raise ValueError('"last_run" is not a name')  # noqa: TRY004
    entry = Entry(
        attempts=_count(values, "n"),
        failures=_count(values, "f"),
        last_run=values["last_run"],
        ok=_samples(values, "ok"),
        fail=_samples(values, "fail"),
        more={name: value for name, value in values.items() if name not in _FIELDS},
        beside={name: value for name, value in found.items() if name not in ("k", "v")},
    )
    return _key(found.get("k")), entry


def encode(key: Key, entry: Entry) -> str:
    """The line of an entry, without its end. UTF-8 can carry it."""
    values = {
        "n": entry.attempts,
        "f": entry.failures,
        "last_run": entry.last_run,
        "ok": entry.ok,
        "fail": entry.fail,
        **entry.more,
    }
    found = {"k": key, "v": values, **entry.beside}
    line = _readable(found)
    try:
        line.encode()
    except UnicodeEncodeError:  # a lone surrogate, which an id may hold, has an escape but no encoding
        return _ascii(found)
    return line


_readable = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_ascii = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _key(value: object) -> Key:
    match value:
        case [str(config), str(test)]:
            return config, test
    raise ValueError('"k" is not a pair of a configuration and a test')


def _count(values: dict[str, Any], name: str) -> int:
    value = values[name]
    if type(value) is not int or value < 0:
        raise ValueError(f'"{name}" is not a number of attempts')
    return value


def _samples(values: dict[str, Any], name: str) -> list[Sample]:
    try:
        samples = [Sample(*each) for each in values[name]]
        sound = not samples or _sound(*zip(*samples, strict=True))
    except TypeError:
        sound = False
    if not sound:
        raise ValueError(f'"{name}" is not a list of [run, milliseconds, seconds]')
    return samples


def _sound(runs: tuple[Any, ...], at: tuple[Any, ...], secs: tuple[Any, ...]) -> bool:
    """Whether these are names, times and durations. By column: that is three times as fast as by sample."""
    return (
        set(map(type, runs)) == {str}
        and set(map(type, at)) == {int}
        and set(map(type, secs)) <= {int, float}
        and 0 <= min(at) <= max(at) < _LATEST_MS
        and min(secs) >= 0
        and max(secs) <= LONGEST_SECS
        and not math.isnan(sum(secs))  # which the comparisons may have passed over
    )
