"""The order of recalculation."""

from __future__ import annotations

import random

import pytest
from gridcalc.graph import DependencyGraph


def random_graph(seed: int, nodes: int, edges: int) -> DependencyGraph[int]:
    """A graph without cycles: a node needs smaller ones only."""
    numbers = random.Random(seed)
    graph: DependencyGraph[int] = DependencyGraph()
    for node in range(nodes):
        graph.connect(node, (numbers.randrange(node) for _ in range(min(node, numbers.randint(0, edges)))))
    return graph


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("edges", [1, 5])
def test_each_node_after_what_it_needs(seed: int, edges: int) -> None:
    """In any graph without cycles all affected nodes are ordered, each once."""
    graph = random_graph(seed, 1500, edges)
    ordered, stuck = graph.order(range(50))
    place = {node: index for index, node in enumerate(ordered)}
    assert not stuck
    assert set(ordered) == graph.dependents(range(50))
    assert len(place) == len(ordered)
    assert all(place[needed] < place[node] for node in ordered for needed in graph.needs(node) if needed in place)


@pytest.mark.parametrize("size", [1, 2, 7, 500])
def test_a_cycle_and_what_hangs_on_it(size: int) -> None:
    """Neither the cycle nor what is made from it is ordered; the rest is."""
    graph: DependencyGraph[str] = DependencyGraph()
    for index in range(size):
        graph.connect(f"c{index}", [f"c{(index + 1) % size}"])
    graph.connect("user", ["c0", "free"])
    graph.connect("other", ["free"])
    ordered, stuck = graph.order(["free", "c0"])
    assert ordered == ["free", "other"]
    assert stuck == {"user", *(f"c{index}" for index in range(size))}
    assert sorted(graph.cycle(stuck)) == sorted(f"c{index}" for index in range(size))


def test_no_cycle_among_few() -> None:
    """A cycle is found only if all of it is among the candidates."""
    graph: DependencyGraph[str] = DependencyGraph()
    graph.connect("a", ["b"])
    graph.connect("b", ["a"])
    assert graph.cycle(["a"]) == []
    assert graph.cycle(["a", "b"]) == ["a", "b"]


def test_connecting_again_replaces() -> None:
    """Old edges are gone in both directions."""
    graph: DependencyGraph[str] = DependencyGraph()
    graph.connect("a", ["b", "c"])
    graph.connect("a", ["d"])
    assert graph.needs("a") == {"d"}
    assert graph.dependents(["b"]) == {"b"}
    graph.connect("a", [])
    assert graph.dependents(["d"]) == {"d"}


def test_the_same_edge_twice_counts_once() -> None:
    """A formula that reads a cell twice needs it once."""
    graph: DependencyGraph[str] = DependencyGraph()
    graph.connect("a", ["b", "b"])
    assert graph.order(["b"]) == (["b", "a"], set())
