"""A cache with a capacity, and with a time to live if wanted."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Forgets the least recently used entry when it is full, and entries older than `ttl` seconds.

    >>> cache = Cache[str, int](capacity=2)
    >>> cache.put("a", 1); cache.put("b", 2); cache.get("a")
    1
    >>> cache.put("c", 3); cache.get("b") is None, len(cache)
    (True, 2)
    """

    def __init__(self, capacity: int, ttl: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        if capacity < 1:
            raise ValueError("a cache needs room for one entry")
        self._capacity = capacity
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, or None. Looking counts as use."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry[0]):
            self._entries.pop(key, None)
            self.misses += 1
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Store a value; it is the youngest then."""
        self._entries[key] = (self._clock(), value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._drop_one()

    def clear(self) -> None:
        """Forget everything but the figures."""
        self._entries.clear()

    def _expired(self, since: float) -> bool:
        return self._ttl is not None and self._clock() - since >= self._ttl

    def _drop_one(self) -> None:
        expired = next((key for key, (since, _) in self._entries.items() if self._expired(since)), None)
        if expired is not None:
            del self._entries[expired]
        else:
            self._entries.popitem(last=False)
