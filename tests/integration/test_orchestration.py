"""The whole execution at a size where schedules show, on a simulated clock: verdicts, and how good the schedule is."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.benchmarks.orchestration import Played, Scenario, play

SMALL = Scenario(tests=600, sandboxes=30, total=3000.0, start=10.0, cpu_cost=0.0)


def all_is_well(played: Played, scenario: Scenario) -> bool:
    """Every test passed, and the journal has one verdict on each."""
    return dict(played.states) == {"passed": scenario.tests} and dict(played.verdicts) == {1: scenario.tests}


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_no_schedule_is_much_better(known: bool, seed: int) -> None:
    """Without deaths a run stays within the bounds that the design promises, with and without known durations."""
    scenario = evolve(SMALL, known=known, seed=seed)
    played = play(scenario)
    assert all_is_well(played, scenario)
    assert played.deaths == 0
    assert played.makespan >= played.bound
    assert played.makespan <= played.allowed


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_deaths_cost_what_they_destroy(known: bool, seed: int) -> None:
    """Sandboxes that die change no verdict, and delay the run by no more than what ran in one of them, run again."""
    scenario = evolve(SMALL, known=known, seed=seed, dying=0.2)
    played = play(scenario)
    assert all_is_well(played, scenario)
    assert played.deaths > 0
    assert played.lost > 0
    assert played.makespan <= played.allowed


def test_a_shorter_bundle_order_is_noticed() -> None:
    """The comparison can fail: known durations give a clearly better schedule than unknown ones."""
    known, unknown = (play(evolve(SMALL, known=known)) for known in (True, False))
    assert known.makespan < unknown.makespan
    assert unknown.makespan > known.allowed
