"""The cache, in the style of unittest."""

# ruff: noqa: PT009, PT027 - written for unittest on purpose
from __future__ import annotations

import random
import unittest
from collections import OrderedDict

from gridcalc.cache import Cache


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class CapacityTest(unittest.TestCase):
    """What is forgotten when the cache is full."""

    def setUp(self) -> None:
        self.cache = Cache[str, int](capacity=3)
        for number, key in enumerate("abc"):
            self.cache.put(key, number)

    def test_full_is_not_too_full(self) -> None:
        """As many entries as it has room for stay."""
        self.assertEqual([self.cache.get(key) for key in "abc"], [0, 1, 2])

    def test_the_oldest_goes(self) -> None:
        """One more, and the first is gone."""
        self.cache.put("d", 3)
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(len(self.cache), 3)

    def test_looking_counts_as_use(self) -> None:
        """What was looked at last stays."""
        self.cache.get("a")
        self.cache.put("d", 3)
        self.assertEqual((self.cache.get("a"), self.cache.get("b")), (0, None))

    def test_replacing_needs_no_room(self) -> None:
        """A new value for a known key drops nothing."""
        self.cache.put("a", 9)
        self.assertEqual([self.cache.get(key) for key in "abc"], [9, 1, 2])

    def test_figures(self) -> None:
        """Hits and misses are counted, and survive clearing."""
        self.cache.get("a")
        self.cache.get("x")
        self.cache.clear()
        self.assertEqual((self.cache.hits, self.cache.misses, len(self.cache)), (1, 1, 0))

    def test_no_room_is_an_error(self) -> None:
        """A cache for nothing is a mistake."""
        for capacity in (0, -1):
            with self.subTest(capacity=capacity), self.assertRaises(ValueError):
                Cache[str, int](capacity)


class TimeToLiveTest(unittest.TestCase):
    """What is forgotten with time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = Cache[str, int](capacity=2, ttl=10.0, clock=self.clock)
        self.cache.put("old", 1)

    def test_until_the_last_moment(self) -> None:
        """An entry lives until its time is over, and not at that moment any more."""
        self.clock.now = 9.999
        self.assertEqual(self.cache.get("old"), 1)
        self.clock.now = 10.0
        self.assertIsNone(self.cache.get("old"))

    def test_looking_does_not_prolong(self) -> None:
        """Only storing makes an entry young."""
        self.clock.now = 9.0
        self.cache.get("old")
        self.clock.now = 11.0
        self.assertIsNone(self.cache.get("old"))

    def test_the_expired_go_first(self) -> None:
        """A dead entry makes room before a living one, even if it was used later."""
        self.clock.now = 5.0
        self.cache.put("young", 2)
        self.cache.get("old")
        self.clock.now = 12.0
        self.cache.put("new", 3)
        self.assertEqual((self.cache.get("young"), self.cache.get("new")), (2, 3))

    @unittest.expectedFailure
    def test_length_counts_the_living(self) -> None:
        """Known weakness: expired entries count until somebody asks for them."""
        self.clock.now = 20.0
        self.assertEqual(len(self.cache), 0)


class ModelTest(unittest.TestCase):
    """Against a model that is too simple to be wrong."""

    def test_many_random_operations(self) -> None:
        """20,000 random operations give what a list of the last used keys gives."""
        numbers = random.Random(7)
        for capacity in (1, 2, 5, 16):
            with self.subTest(capacity=capacity):
                cache, model = Cache[int, int](capacity), OrderedDict[int, int]()
                for step in range(5000):
                    key = numbers.randrange(capacity * 2)
                    if numbers.random() < 0.5:
                        cache.put(key, step)
                        model[key] = step
                        model.move_to_end(key)
                        if len(model) > capacity:
                            model.popitem(last=False)
                    else:
                        expected = model.get(key)
                        if expected is not None:
                            model.move_to_end(key)
                        self.assertEqual(cache.get(key), expected)
