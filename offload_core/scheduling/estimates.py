"""How long a test will take."""

from __future__ import annotations

from collections.abc import Mapping

from ..abc import Test

UNKNOWN_SECS = 1.0
"""The estimate where nothing at all is known."""


class Estimates:
    """Seconds per test: what is known of it, else the mean of what is known of its group, else one second."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        """`known` maps a test's id to seconds."""
        self._known = dict(known or {})
        self._sums: dict[str, tuple[float, int]] = {}

    def of(self, test: Test) -> float:
        """The estimate, in seconds, above 0."""
        known = self._known.get(test.id)
        total, count = self._sums.get(test.group, (0.0, 0))
        if known is None:
            return total / count if count else UNKNOWN_SECS
        self._sums[test.group] = (total + known, count + 1)
        return max(known, 1e-4)
