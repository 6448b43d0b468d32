"""One history of two, as a git merge driver needs it.

For every test: samples of both, without those that are the same; counters grow by what each side has added. It does
not matter which side is which, merging again changes nothing, and no sample is lost that there is room for.
"""

from __future__ import annotations

from collections.abc import Sequence

from .entry import Entry, Sample
from .reservoir import kept

SIZE = 20
"""How many samples are kept of an outcome, where neither side had more: the configuration is not known to git."""


def with_base(base: Entry, ours: Entry, theirs: Entry) -> Entry:
    """What both made of `base`: each counter is that of `base` and what each side has added."""
    merged = _merged(ours, theirs)
    merged.attempts = _grown(base.attempts, ours.attempts, theirs.attempts)
    merged.failures = min(_grown(base.failures, ours.failures, theirs.failures), merged.attempts)
    merged.more = {**base.more, **merged.more}
    merged.beside = {**base.beside, **merged.beside}
    return merged


def without_base(ours: Entry, theirs: Entry) -> Entry:
    """What two have come to that have no common past, or one that is not known.

    How much of it is common is told by the samples: of the smaller counter, the share of common samples is not added.
    """
    merged = _merged(ours, theirs)
    common = _overlap(ours, theirs)
    merged.attempts = _joined(ours.attempts, theirs.attempts, common)
    merged.failures = min(_joined(ours.failures, theirs.failures, common), merged.attempts)
    return merged


def _merged(ours: Entry, theirs: Entry) -> Entry:
    newer = theirs if theirs.newest > ours.newest else ours
    return Entry(
        last_run=newer.last_run,
        ok=_union(ours.ok, theirs.ok),
        fail=_union(ours.fail, theirs.fail),
        more={**theirs.more, **ours.more},
        beside={**theirs.beside, **ours.beside},
    )


def _union(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[Sample]:
    return kept({*ours, *theirs}, max(SIZE, len(ours), len(theirs)))


def _grown(base: int, ours: int, theirs: int) -> int:
    return base + max(ours - base, 0) + max(theirs - base, 0)


def _overlap(ours: Entry, theirs: Entry) -> float:
    """The share of the shorter side's samples that the other has too, 0 to 1; 1 where neither has any."""
    our, their = ({*entry.ok, *entry.fail} for entry in (ours, theirs))
    shorter = min(len(our), len(their))
    return len(our & their) / shorter if shorter else float(our == their)


def _joined(ours: int, theirs: int, common: float) -> int:
    return ours + theirs - round(common * min(ours, theirs))
