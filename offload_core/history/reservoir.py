"""Which samples are kept of a test: a bounded number, the newer the likelier.

Each sample draws a key r^(1/w); those with the largest keys are kept. That is a random sample with weights w
(Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). The weight falls by a tenth with each
sample that is newer. The generator is seeded by the newest sample's time: whoever chooses of the same samples, in
whatever order and on whatever machine, chooses the same. Each choice draws anew: did a sample keep its r, lucky ones
would stay for ever, and after 1,000 runs half of what is kept would be older than 240 runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import exp, log
from operator import itemgetter

from .entry import Sample

DECAY = 0.1

_order = itemgetter(1, 0, 2)  # by time; then anything that is always the same


def kept(samples: Iterable[Sample], size: int) -> list[Sample]:
    """At most `size` of the samples, oldest first."""
    ranked = sorted(samples, key=_order, reverse=True)
    if len(ranked) > size:
        draw = random.Random(ranked[0].at).random
        # log(r) / w orders as r ^ (1 / w) does, and does not underflow
        keys = [log(1.0 - draw()) * exp(DECAY * rank) for rank in range(len(ranked))]
        best = sorted(range(len(ranked)), key=keys.__getitem__, reverse=True)[:size]
        ranked = [ranked[rank] for rank in sorted(best)]
    return ranked[::-1]
