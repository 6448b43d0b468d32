"""Which samples stay in a full reservoir."""

from __future__ import annotations

import random
from collections import Counter
from math import exp

import pytest

from offload_core.history.entry import Sample
from offload_core.history.reservoir import kept

HOUR_MS = 3_600_000


def samples(count: int, first: int = 1_712_000_000_000) -> list[Sample]:
    """One an hour."""
    return [Sample(f"r{number}", first + number * HOUR_MS, number / 10) for number in range(count)]


def test_while_there_is_room_all_stay() -> None:
    """In the order of their time, whatever order they came in."""
    all_of_them = samples(20)
    shuffled = random.Random(1).sample(all_of_them, 20)
    assert kept(shuffled, 20) == kept(all_of_them, 100) == all_of_them
    assert kept([], 5) == []


def test_it_is_bounded_and_does_not_depend_on_order() -> None:
    """Also where several have the same time, as attempts of one run had."""
    many = [*samples(50), *(Sample("other", each.at, each.secs) for each in samples(50))]
    chosen = kept(many, 20)
    assert len(chosen) == len(set(chosen)) == 20
    assert set(chosen) < set(many)
    for seed in range(5):
        assert kept(random.Random(seed).sample(many, len(many)), 20) == chosen


def test_the_newest_is_the_likeliest_and_old_ones_have_a_chance() -> None:
    """Over many reservoirs: of 40 samples 20 stay, each rank about as often as its weight says, and none never."""
    draw = random.Random(7)
    rounds, count = 2000, 40
    stayed: Counter[int] = Counter()
    for _ in range(rounds):
        some = samples(count, first=draw.randrange(10**12))
        stayed.update(count - 1 - some.index(sample) for sample in kept(some, 20))
    shares = [stayed[rank] / rounds for rank in range(count)]
    assert sum(shares) == pytest.approx(20)
    # the inclusion probabilities are 1 - exp(-t * w) for the t with which they add up (Efraimidis and Spirakis)
    weights = [exp(-0.1 * rank) for rank in range(count)]
    low, high = 0.0, 1000.0
    for _ in range(60):
        t = (low + high) / 2
        low, high = (t, high) if sum(1 - exp(-t * w) for w in weights) < 20 else (low, t)
    for share, weight in zip(shares, weights, strict=True):
        assert share == pytest.approx(1 - exp(-t * weight), abs=0.04)


def test_it_follows_what_changes() -> None:
    """After a thousand runs, each added alone, what is kept is mostly of the last twenty, and not of those only."""
    ages: list[int] = []
    for start in range(20):
        every = samples(1000, first=1_712_000_000_000 + start)
        reservoir: list[Sample] = []
        for sample in every:
            reservoir = kept([*reservoir, sample], 20)
        ages += [999 - int(sample.run[1:]) for sample in reservoir]
    ages.sort()
    assert len(ages) == 20 * 20
    assert ages[len(ages) // 2] < 15
    assert 20 <= ages[-1] < 60
