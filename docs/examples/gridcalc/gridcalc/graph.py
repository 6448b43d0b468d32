"""Who depends on whom, and in which order to recalculate."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

N = TypeVar("N", bound=Hashable)


class DependencyGraph(Generic[N]):
    """Edges from a node to what it is made from.

    >>> graph = DependencyGraph[str]()
    >>> graph.connect("total", ["net", "tax"]); graph.connect("tax", ["net"])
    >>> graph.order(["net"])
    (['net', 'tax', 'total'], set())
    """

    def __init__(self) -> None:
        self._needs: dict[N, frozenset[N]] = {}
        self._needed_by: dict[N, set[N]] = {}

    def connect(self, node: N, needs: Iterable[N]) -> None:
        """Replace what a node is made from; nothing removes it."""
        for old in self._needs.pop(node, frozenset()):
            users = self._needed_by[old]
            users.discard(node)
            if not users:
                del self._needed_by[old]
        new = frozenset(needs)
        if new:
            self._needs[node] = new
            for needed in new:
                self._needed_by.setdefault(needed, set()).add(node)

    def needs(self, node: N) -> frozenset[N]:
        """What a node is directly made from."""
        return self._needs.get(node, frozenset())

    def dependents(self, nodes: Iterable[N]) -> set[N]:
        """The nodes and everything made from them, directly or not."""
        found = set(nodes)
        queue = deque(found)
        while queue:
            for user in self._needed_by.get(queue.popleft(), ()):
                if user not in found:
                    found.add(user)
                    queue.append(user)
        return found

    def order(self, changed: Iterable[N]) -> tuple[list[N], set[N]]:
        """What to recalculate after a change, each node after all it needs; and apart the nodes that cannot be ordered:
        those in a cycle, and those made from one.
        """
        affected = self.dependents(changed)
        waiting = {node: sum(needed in affected for needed in self.needs(node)) for node in affected}
        ready = deque(sorted((node for node, count in waiting.items() if not count), key=repr))
        ordered: list[N] = []
        while ready:
            node = ready.popleft()
            ordered.append(node)
            for user in sorted(self._needed_by.get(node, ()), key=repr):
                waiting[user] -= 1
                if not waiting[user]:
                    ready.append(user)
        return ordered, affected.difference(ordered)

    def cycle(self, among: Iterable[N]) -> list[N]:
        """One cycle among the nodes, in order, or nothing."""
        candidates = set(among)
        for start in sorted(candidates, key=repr):
            path: list[N] = []
            seen: dict[N, int] = {}
            node: N | None = start
            while node is not None and node not in seen:
                seen[node] = len(path)
                path.append(node)
                following = sorted((each for each in self.needs(node) if each in candidates), key=repr)
                node = following[0] if following else None
            if node is not None:
                return path[seen[node] :]
        return []
