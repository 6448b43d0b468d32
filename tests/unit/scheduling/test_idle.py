"""What an idle worker may do: from whom it steals, how much, and what it may run a second time."""

from __future__ import annotations

import pytest

from offload_core.abc import Test
from offload_core.scheduling import half_of, most_held, overdue_by


def make(*keys: str) -> dict[str, Test]:
    """Held tests by key."""
    return {key: Test(key=key, id=key, group="g", path="m", affinity="m") for key in keys}


def secs(test: Test) -> float:
    """Their keys begin with their seconds."""
    return float(test.key[0])


def test_the_victim_is_who_holds_most() -> None:
    """The most unstarted tests that nobody else is stealing already."""
    held = [("a", make("1", "2")), ("b", make("3", "4", "5")), ("c", make("6"))]
    assert most_held(held, ()) == "b"
    assert most_held(held, {"3", "4"}) == "a"
    assert most_held(held, {"1", "2", "3", "4", "5"}) == "c"


@pytest.mark.parametrize("taboo", [(), {"1"}])
def test_nobody_holds_any(taboo: set[str]) -> None:
    """Nobody to steal from."""
    assert most_held([], taboo) is None
    assert most_held([("a", {}), ("b", make(*taboo))], taboo) is None


@pytest.mark.parametrize(
    ("held", "stolen"),
    [
        (["1a"], ["1a"]),
        (["1a", "1b"], ["1b"]),
        (["1a", "1b", "1c", "1d"], ["1c", "1d"]),
        (["1a", "1b", "1c", "1d", "4e"], ["4e"]),
        (["4a", "1b", "1c", "1d", "1e"], ["1b", "1c", "1d", "1e"]),
        (["9a", "1b"], ["9a", "1b"]),
        (["0a", "0b"], ["0b"]),
        ([], []),
    ],
)
def test_half_by_time(held: list[str], stolen: list[str]) -> None:
    """The later half by time, in order, at least one; the victim keeps what it comes to first."""
    assert [test.key for test in half_of(make(*held).values(), secs)] == stolen


def test_when_a_test_is_hedged() -> None:
    """Twice its estimate, and at least five seconds; the excess over the estimate is what ranks it."""
    assert overdue_by(4.9, 0.1) == 0
    assert overdue_by(5.1, 0.1) == pytest.approx(5.0)
    assert overdue_by(19.9, 10.0) == 0
    assert overdue_by(20.1, 10.0) == pytest.approx(10.1)
