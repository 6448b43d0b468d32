"""Frameworks that do not tell which test of a batch runs: the culprit is found by halves, nobody else is blamed."""

from __future__ import annotations

import pytest

from offload_core.events import Incident, IncidentKind, TestBegan
from tests.support.simulation import Backend, Behaviour, Simulated, make_tests
from tests.support.soundness import sound_run

GOOD = Behaviour(secs=1.0)


def run(suite: dict[str, Behaviour], **offload: object) -> Simulated:
    """A sound run of batches in two sandboxes."""
    tests = make_tests(suite, per_module=40)
    return sound_run(tests, Backend(suite=suite, batches=True), max_parallel=2, offload=offload)


def suite(**special: Behaviour) -> dict[str, Behaviour]:
    """Forty good tests with some special ones among them."""
    return {f"t{number}": GOOD for number in range(40)} | special


@pytest.mark.parametrize("what", ["process", "sandbox"])
def test_a_poison_test_is_found_in_its_batch(what: str) -> None:
    """It is `crashed`; its neighbours have passed, and none of their attempts is held against them."""
    simulated = run(suite(t7=Behaviour(secs=1.0, ends=what)))
    states = simulated.states()
    assert states.pop("t7") == "crashed"
    assert set(states.values()) == {"passed"}
    attempts = {key: record.attempts for key, record in simulated.accounting.records.items()}
    assert [attempt.outcome.value for attempt in attempts.pop("t7")][-1] == "crashed"
    assert {attempt.outcome.value for tried in attempts.values() for attempt in tried} <= {"passed", "lost"}
    assert len(simulated.of(Incident)) <= 8, "halves: about the logarithm of the batch's size"


def test_two_poison_tests_of_one_batch_are_found() -> None:
    """Each half that crashes is halved again."""
    bad = Behaviour(secs=1.0, ends="process")
    simulated = run(suite(t3=bad, t4=bad))
    assert {key for key, state in simulated.states().items() if state == "crashed"} == {"t3", "t4"}
    assert set(simulated.states().values()) == {"crashed", "passed"}


def test_a_crash_that_does_not_come_again_is_held_against_nobody() -> None:
    """Nobody knows whose it was: all have passed, and the incident tells."""
    simulated = run(suite(t7=Behaviour(secs=1.0, ends="once-process")))
    assert set(simulated.states().values()) == {"passed"}
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.SESSION_CRASHED]


def test_the_test_that_hangs_is_found() -> None:
    """A batch that takes too long is halved, too; in the end one test is over its time, alone."""
    simulated = run(suite(t7=Behaviour(secs=1.0, ends="hang")), test_timeout_secs=60.0)
    states = simulated.states()
    assert states.pop("t7") == "timed_out"
    assert set(states.values()) == {"passed"}


def test_a_batch_longer_than_the_limit_of_one_test_passes() -> None:
    """The limit is one test's: what is too much for it together is run in parts."""
    simulated = run(suite(), test_timeout_secs=4.0)
    assert set(simulated.states().values()) == {"passed"}


def test_no_test_of_a_batch_is_hedged_and_no_batch_is_killed_for_one() -> None:
    """Since when each test runs is not known, and to abort one would cost the others."""
    simulated = run(suite(t7=Behaviour(secs=100.0)))
    assert set(simulated.states().values()) == {"passed"}
    begun = simulated.of(TestBegan)
    assert len(begun) == len({event.test for event in begun}) == 40
