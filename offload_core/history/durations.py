"""How long tests will take, by the history: what the scheduler plans with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from math import inf

from typing_extensions import override

from .entry import Entry, decode
from .file import History

_VALUES = ',"v":'
_decode_at = json.JSONDecoder().raw_decode

QUANTILE = 0.75
"""A test that takes longer than planned costs more than one that takes less: it may be the last one to end."""


def expected_secs(entry: Entry) -> float | None:
    """Seconds that a test will take, None if there is no sample.

    The third quartile of its good and of its bad attempts, weighted by how often it fails.
    """
    return _expected([each.secs for each in entry.ok], [each.secs for each in entry.fail], entry.failure_rate)


class RecordedDurations(Mapping[str, float]):
    """Seconds by a test's id, for one configuration. A line is decoded when its test is first asked for.

    Args:
        config: the name of the configuration's file.
        otherwise: seconds of tests that the history does not know.
        note: told in words of a line that is damaged; the test is then unknown.
    """

    def __init__(
        self, history: History, config: str, otherwise: Mapping[str, float], note: Callable[[str], None]
    ) -> None:
        self._path = history.path
        self._otherwise = otherwise
        self._note = note
        self._known: dict[str, float | str | None] = {
            test: line for (where, test), line in history.lines.items() if where == config
        }

    @override
    def __getitem__(self, test: str) -> float:
        known = self._known.get(test)
        if isinstance(known, str):
            known = self._known[test] = self._decoded(test, known)
        return self._otherwise[test] if known is None else known

    @override
    def __iter__(self) -> Iterator[str]:
        return (test for test in dict.fromkeys((*self._known, *self._otherwise)) if test in self)

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _decoded(self, test: str, line: str) -> float | None:
        try:
            return _glance(line)
        except (ArithmeticError, KeyError, TypeError, ValueError, RecursionError):
            pass  # decoding it whole says what is wrong
        try:
            return expected_secs(decode(line)[1])
        except ValueError as error:
            self._note(f"{self._path}: the entry of {test!r} is damaged: {error}")
            return None


def _glance(line: str) -> float | None:
    """As `expected_secs`, without looking at what does not matter for it: that takes half of the time."""
    values, end = _decode_at(line, line.index(_VALUES) + len(_VALUES))
    if end != len(line) - 1:
        raise ValueError("not the end")
    ok = [secs for _, _, secs in values["ok"]]
    fail = [secs for _, _, secs in values["fail"]]
    secs = _expected(ok, fail, min(values["f"] / values["n"], 1.0) if fail else 0.0)
    if secs is not None and not 0 <= secs < inf:
        raise ValueError("not a duration")
    return secs


def _expected(ok: list[float], fail: list[float], failure_rate: float) -> float | None:
    if not ok or not fail:
        return _quantile(ok or fail) if ok or fail else None
    return (1 - failure_rate) * _quantile(ok) + failure_rate * _quantile(fail)


def _quantile(secs: list[float]) -> float:
    """By nearest rank."""
    return sorted(secs)[round(QUANTILE * (len(secs) - 1))]
