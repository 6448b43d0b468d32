"""Which samples are kept of a test: a bounded number, the newer the likelier, and some that are old.

Each sample has a random key r^(1/w); those with the largest keys are kept. That is a random sample with weights w
(Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). The weight falls by a tenth with each
sample that is newer. r comes from a sample's own time: who chooses again, also on another machine, chooses the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from operator import itemgetter

from .entry import Sample

DECAY = 0.1
_MASK = 2**64 - 1


def newest_first(samples: Iterable[Sample]) -> list[Sample]:
    """In an order that does not depend on the one they came in."""
    return sorted(samples, key=itemgetter(1, 0, 2), reverse=True)  # by time; then anything that is always the same


def kept(samples: Iterable[Sample], size: int) -> list[Sample]:
    """At most `size` of the samples, oldest first."""
    ranked = newest_first(samples)
    if len(ranked) > size:
        # log(r) / w orders as r ^ (1 / w) does, and does not underflow
        keys = [log(_random(sample.at)) * exp(DECAY * rank) for rank, sample in enumerate(ranked)]
        best = sorted(range(len(ranked)), key=keys.__getitem__, reverse=True)[:size]
        ranked = [ranked[rank] for rank in sorted(best)]
    return ranked[::-1]


def _random(seed: int) -> float:
    """A number above 0 and below 1 that looks random: SplitMix64 (Steele, Lea and Flood, 2014).

    Python's own generator takes ten times as long to be seeded.
    """
    bits = (seed + 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return (((bits ^ (bits >> 31)) >> 11) + 0.5) / 2**53
