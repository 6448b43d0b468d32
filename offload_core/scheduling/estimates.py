"""How long a test will take."""

from __future__ import annotations

from collections.abc import Mapping

from ..abc import Test

UNKNOWN_SECS = 1.0
"""The estimate where nothing at all is known."""


class Estimates:
    """Seconds per test: what is known of it, else the mean of what is known of its group, else `unknown`."""

    def __init__(self, known: Mapping[str, float] | None = None, unknown: float = UNKNOWN_SECS) -> None:
        """`known` maps a test's id to seconds; it is asked for the tests that there are, and not copied."""
        self._known = {} if known is None else known
        self._unknown = unknown
        self._sums: dict[str, tuple[float, int]] = {}
        self._seen_secs = 0.0
        self._seen = 0

    def of(self, test: Test) -> float:
        """The estimate, in seconds, above 0."""
        known = self._known.get(test.id)
        total, count = self._sums.get(test.group, (0.0, 0))
        if known is None:
            return total / count if count else self._unknown
        self._sums[test.group] = (total + known, count + 1)
        return max(known, 1e-4)

    def observe(self, secs: float) -> None:
        """A test of this run took so long."""
        self._seen_secs += secs
        self._seen += 1

    def expected(self, test: Test) -> float:
        """The best guess by now, in seconds: what is known of the test, else the mean of this run so far."""
        return self.shown(test) if self._seen or test.id in self._known else self.of(test)

    def shown(self, test: Test) -> float:
        """What is known of the test, else the mean of this run so far, else 0: nothing speaks for more."""
        known = self._known.get(test.id)
        if known is not None:
            return known
        return self._seen_secs / self._seen if self._seen else 0.0
