"""Which samples are kept of a test: a bounded number, the newer the likelier.

Each sample has a random key r^(1/w); those with the largest keys are kept. That is a random sample with weights w
(Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). The weight falls by a tenth with each
sample that is newer. r comes from a sample's time and the newest one's, so whoever chooses of the same samples, in
whatever order and on whatever machine, chooses the same. Were it from its own time alone, lucky samples would stay for
ever: after 1,000 runs half of them would be older than 240 runs, and few new ones would get in.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from operator import itemgetter

from .entry import Sample

DECAY = 0.1
_MASK = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15

_order = itemgetter(1, 0, 2)  # by time; then anything that is always the same


def kept(samples: Iterable[Sample], size: int) -> list[Sample]:
    """At most `size` of the samples, oldest first."""
    ranked = sorted(samples, key=_order, reverse=True)
    if len(ranked) > size:
        draw = ranked[0].at * _ODD
        # log(r) / w orders as r ^ (1 / w) does, and does not underflow
        keys = [log(_random(sample.at ^ draw)) * exp(DECAY * rank) for rank, sample in enumerate(ranked)]
        best = sorted(range(len(ranked)), key=keys.__getitem__, reverse=True)[:size]
        ranked = [ranked[rank] for rank in sorted(best)]
    return ranked[::-1]


def _random(seed: int) -> float:
    """A number above 0 and below 1 that looks random: SplitMix64 (Steele, Lea and Flood, 2014).

    Python's own generator takes ten times as long to be seeded.
    """
    bits = (seed + _ODD) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return (((bits ^ (bits >> 31)) >> 11) + 0.5) / 2**53
