"""How long tests will take, by the history: what the scheduler plans with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .entry import Entry, Sample, decode
from .file import History

QUANTILE = 0.75
"""A test that takes longer than planned costs more than one that takes less: it may be the last one to end."""


def expected_secs(entry: Entry) -> float | None:
    """Seconds that a test will take, None if there is no sample.

    The third quartile of its good and of its bad attempts, weighted by how often it fails.
    """
    if not entry.ok or not entry.fail:
        known = entry.ok or entry.fail
        return _quantile(known) if known else None
    rate = entry.failure_rate
    return (1 - rate) * _quantile(entry.ok) + rate * _quantile(entry.fail)


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

    def __getitem__(self, test: str) -> float:
        known = self._known.get(test)
        if isinstance(known, str):
            known = self._known[test] = self._decoded(test, known)
        return self._otherwise[test] if known is None else known

    def __iter__(self) -> Iterator[str]:
        return (test for test in dict.fromkeys((*self._known, *self._otherwise)) if test in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _decoded(self, test: str, line: str) -> float | None:
        try:
            return expected_secs(decode(line)[1])
        except ValueError as error:
            self._note(f"{self._path}: the entry of {test!r} is damaged: {error}")
            return None


def _quantile(samples: list[Sample]) -> float:
    """By nearest rank."""
    secs = sorted([sample.secs for sample in samples])
    return secs[round(QUANTILE * (len(secs) - 1))]
