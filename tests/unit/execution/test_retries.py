"""Retries, time limits, hedging and stealing, over simulated sandboxes."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from offload_core.abc import LivenessSettings, SandboxRef
from offload_core.errors import ConnectionLost
from offload_core.events import AttemptDropped, Incident, IncidentKind, SessionEnded, SessionOpened, Stamped, TestBegan
from offload_core.execution import ArtefactRequest
from tests.support.simulation import Backend, Behaviour, Simulated, make_tests
from tests.support.soundness import sound_run

GOOD = Behaviour(secs=1.0)


def suite(count: int = 20, **special: Behaviour) -> dict[str, Behaviour]:
    """Good tests with some special ones among them."""
    return {f"t{number}": GOOD for number in range(count)} | special


def outcomes(simulated: Simulated, key: str) -> list[str]:
    """The outcomes of a test's attempts that count, in order."""
    return [attempt.outcome.value for attempt in simulated.accounting.records[key].attempts]


def sandboxes(simulated: Simulated, key: str) -> list[str]:
    """Where a test began, each time."""
    return [event.sandbox for event in simulated.of(TestBegan) if event.test == key]


def others(simulated: Simulated, key: str) -> set[str]:
    """The states of all tests but one."""
    return {state for name, state in simulated.states().items() if name != key}


@pytest.mark.parametrize(
    ("retries", "behaviour", "expected", "state"),
    [
        (0, ("failed", "passed"), ["failed"], "failed"),
        (1, ("failed", "passed"), ["failed", "passed"], "flaky"),
        (3, ("failed", "error", "passed"), ["failed", "error", "passed"], "flaky"),
        (2, ("failed",), ["failed", "failed", "failed"], "failed"),
        (2, ("passed",), ["passed"], "passed"),
        (2, ("skipped",), ["skipped"], "skipped"),
        (2, ("xfailed",), ["xfailed"], "xfailed"),
        (1, ("failed", "skipped"), ["failed", "skipped"], "flaky"),
        (1, ("crashed",), ["crashed", "crashed"], "crashed"),  # in a process of its own: the framework says so
        (1, ("failed", "crashed", "passed"), ["failed", "crashed"], "crashed"),
    ],
)
def test_retries(retries: int, behaviour: tuple[str, ...], expected: list[str], state: str) -> None:
    """A bad outcome is retried as often as its group says, a good one never; each retry is on another sandbox."""
    behaviours = suite(t7=Behaviour(secs=1.0, outcomes=behaviour))
    simulated = sound_run(make_tests(behaviours, retries=retries), Backend(suite=behaviours))
    assert outcomes(simulated, "t7") == expected
    assert simulated.states()["t7"] == state
    assert others(simulated, "t7") == {"passed"}
    where = sandboxes(simulated, "t7")
    assert all(here != there for here, there in itertools.pairwise(where))


def test_retry_on_the_same_if_alone() -> None:
    """With one sandbox, that is where it is retried."""
    behaviours = suite(t7=Behaviour(outcomes=("failed", "passed")))
    simulated = sound_run(make_tests(behaviours, retries=1), Backend(suite=behaviours), max_parallel=1)
    assert sandboxes(simulated, "t7") == ["s1", "s1"]
    assert simulated.states()["t7"] == "flaky"


@pytest.mark.parametrize("dies", ["while it works", "while it starts"])
def test_retry_when_the_other_goes(dies: str) -> None:
    """A retry that waits for the other sandbox runs where it failed if the other dies and nobody replaces it."""
    behaviours = {"t0": Behaviour(secs=5.0, outcomes=("failed", "passed")), "t1": Behaviour(secs=30.0)}
    backend = Backend(suite=behaviours)
    if dies == "while it works":
        behaviours["t1"] = Behaviour(secs=30.0, ends="once-sandbox")
    else:
        backend.start_secs = lambda number: 25.0 * bool(number)
        backend.refuse = lambda number: ConnectionLost("no") if number else None
    simulated = sound_run(
        make_tests(behaviours, retries=1, per_module=1), backend, max_parallel=2, offload={"max_replacements": 0}
    )
    assert simulated.states() == {"t0": "flaky", "t1": "passed"}
    assert set(sandboxes(simulated, "t0")) == {"s1"}
    assert simulated.events[-1].at < 120


def test_infrastructure_uses_up_no_retries() -> None:
    """A lost attempt is not a failure: all retries are still there."""
    behaviours = suite(t7=Behaviour(secs=1.0, ends="once-sandbox", outcomes=("failed", "failed", "passed")))
    simulated = sound_run(make_tests(behaviours, retries=1), Backend(suite=behaviours))
    assert outcomes(simulated, "t7") == ["lost", "failed", "passed"]


# -- time limits ------------------------------------------------------------------------------------------------------

HANGS = Behaviour(secs=1e6)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_test_that_hangs(retries: int) -> None:
    """It is killed after `test_timeout_secs`, and is retried like a failure; the rest goes on in a new session."""
    behaviours = suite(t7=HANGS)
    simulated = sound_run(
        make_tests(behaviours, retries=retries), Backend(suite=behaviours), offload={"test_timeout_secs": 60.0}
    )
    assert outcomes(simulated, "t7") == ["timed_out"] * (retries + 1)
    assert simulated.states()["t7"] == "timed_out"
    assert others(simulated, "t7") == {"passed"}
    for attempt in simulated.accounting.records["t7"].attempts:
        assert attempt.duration == pytest.approx(60.0)
        assert "test_timeout_secs (60 s)" in attempt.message
    assert simulated.of(Incident) == []


def test_a_hang_that_passes_on_retry() -> None:
    """Timed out, then passed, is flaky."""
    behaviours = suite(t7=Behaviour(secs=1e6, then_secs=1.0))
    simulated = sound_run(
        make_tests(behaviours, retries=1),
        Backend(suite=behaviours),
        offload={"test_timeout_secs": 60.0, "hedge": False},
    )
    assert outcomes(simulated, "t7") == ["timed_out", "passed"]
    assert simulated.states()["t7"] == "flaky"


def test_an_import_that_hangs() -> None:
    """The tests that were asked for of a module whose import hangs are `timed_out`; other modules go on."""
    behaviours = suite(30)
    backend = Backend(suite=behaviours, imports={"test_1.py": "hang"})
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2, offload={"test_timeout_secs": 60.0})
    stuck = {f"t{number}" for number in range(10, 20)}
    assert {key for key, state in simulated.states().items() if state == "timed_out"} == stuck
    assert {state for key, state in simulated.states().items() if key not in stuck} == {"passed"}


def test_nobody_is_blamed_for_another_ones_time() -> None:
    """A test that begins while the kill of the one before is on its way is not `timed_out`: it runs again."""
    behaviours = suite(5, t0=Behaviour(secs=62.0, then_secs=1.0))

    async def slowly() -> None:
        await asyncio.sleep(2.5)  # t0 ends by itself meanwhile, and t1 has begun when the kill comes

    backend = Backend(suite=behaviours, on_kill=slowly)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=1, offload={"test_timeout_secs": 60.0})
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.of(Incident) == []
    assert len(simulated.of(AttemptDropped)) == 1


@pytest.mark.parametrize("when", [40.0, 59.0, 59.999])
def test_a_lost_connection_is_not_a_long_test(when: float) -> None:
    """A test whose end nobody can hear is not `timed_out`: its sandbox is lost, and the test runs elsewhere."""
    behaviours = suite(t7=Behaviour(secs=60.5, then_secs=1.0))
    backend = Backend(suite=behaviours)

    def consumer(stamped: Stamped) -> None:
        event = stamped.event
        if isinstance(event, TestBegan) and event.test == "t7" and event.number == 1:
            ref = next(ref for ref in backend.deaths if ref.name == event.sandbox)
            asyncio.get_running_loop().call_later(when, backend.silent.add, ref)

    simulated = sound_run(
        make_tests(behaviours),
        backend,
        offload={"test_timeout_secs": 60.0, "hedge": False},
        liveness=LivenessSettings(),
        consumers=[consumer],
    )
    assert set(simulated.states().values()) == {"passed"}
    assert outcomes(simulated, "t7") == ["lost", "passed"]
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.SANDBOX_LOST]


@pytest.mark.parametrize("how", ["raises", "hangs", "breaks"])
def test_a_kill_that_fails(how: str) -> None:
    """A sandbox in which a hanging test cannot be killed is given up; the test is `timed_out` all the same."""
    behaviours = suite(t7=HANGS)

    async def kill() -> None:
        if how == "raises":
            raise ConnectionLost("no answer", operation="kill")
        if how == "breaks":
            raise ZeroDivisionError("a bug in a plugin")
        await asyncio.Event().wait()

    simulated = sound_run(
        make_tests(behaviours),
        Backend(suite=behaviours, on_kill=kill),
        offload={"test_timeout_secs": 60.0, "hedge": False},
    )
    assert outcomes(simulated, "t7") == ["timed_out"]
    assert others(simulated, "t7") == {"passed"}
    (incident,) = simulated.of(Incident)
    assert incident.kind is IncidentKind.SANDBOX_LOST
    assert "could not be killed" in incident.reason
    assert incident.suspects == ()


# -- hedging ----------------------------------------------------------------------------------------------------------

SLOW_ONCE = Behaviour(secs=500.0, then_secs=1.0)


def hedged(behaviour: Behaviour, *, retries: int = 0, hedge: bool = True, **more: Any) -> Simulated:
    """A run in which one test is slow the first time, and everybody else is idle soon."""
    behaviours = suite(t7=behaviour)
    return sound_run(
        make_tests(behaviours, retries=retries),
        Backend(suite=behaviours),
        offload={"hedge": hedge},
        estimates=dict.fromkeys(behaviours, 1.0),
        **more,
    )


def test_the_first_verdict_wins() -> None:
    """An overdue test is run a second time, that one's verdict counts, and the slow one is stopped and dropped."""
    simulated = hedged(evolve(SLOW_ONCE, outcomes=("failed", "passed")))
    assert simulated.states()["t7"] == "passed", "never flaky: the slow one's failure does not count"
    assert outcomes(simulated, "t7") == ["passed"]
    assert [(event.test, event.number) for event in simulated.of(AttemptDropped)] == [("t7", 1)]
    (first, second) = (event for event in simulated.of(TestBegan) if event.test == "t7")
    assert (first.hedge, second.hedge) == (False, True)
    assert first.sandbox != second.sandbox
    assert simulated.events[-1].at < 30
    assert simulated.of(Incident) == []


@pytest.mark.parametrize(("retries", "state"), [(0, "failed"), (1, "flaky")])
def test_a_hedge_that_fails_first(retries: int, state: str) -> None:
    """Its failure is the verdict, or is retried like one; what the other would have said does not matter."""
    simulated = hedged(evolve(SLOW_ONCE, outcomes=("passed", "failed", "passed")), retries=retries)
    assert simulated.states()["t7"] == state
    assert outcomes(simulated, "t7") == ["failed", "passed"][: retries + 1]
    assert simulated.events[-1].at < 60


@pytest.mark.parametrize("secs", [20.0, 40.0, 90.0, 500.0])
@pytest.mark.parametrize(
    ("retries", "said", "state"), [(0, "passed", "passed"), (0, "failed", "failed"), (1, "failed", "flaky")]
)
def test_a_session_that_leaves_files_is_let_to_its_end(secs: float, retries: int, said: str, state: str) -> None:
    """For a minute at most, while the other attempt's verdict is the one that counts, and its end is no incident."""
    collect = ArtefactRequest(globs=("*",), failure_only=False, output_dir=Path(), claim=Path, owns=lambda path: False)
    slow = Behaviour(secs=secs, then_secs=1.0, outcomes=("passed", said, "passed"))
    simulated = hedged(slow, retries=retries, artefacts=collect)
    assert simulated.states()["t7"] == state
    assert outcomes(simulated, "t7") == [said, "passed"][: retries + 1]
    assert [(event.test, event.number) for event in simulated.of(AttemptDropped)] == [("t7", 1)]
    assert simulated.of(Incident) == []
    slow_one = simulated.of(TestBegan)[[event.test for event in simulated.of(TestBegan)].index("t7")].session
    (end,) = (event for event in simulated.of(SessionEnded) if event.session == slow_one)
    assert end.complete == (secs < 60)
    assert simulated.events[-1].at < min(secs, 75) + 10


def test_no_hedging_when_it_is_off() -> None:
    """`hedge = false` runs nothing twice."""
    simulated = hedged(SLOW_ONCE, hedge=False)
    assert len(sandboxes(simulated, "t7")) == 1
    assert simulated.events[-1].at > 500


def test_no_hedging_of_what_is_in_time() -> None:
    """A long test that takes as long as was known is left alone."""
    behaviours = suite(t7=Behaviour(secs=100.0))
    estimates = {key: behaviour.secs for key, behaviour in behaviours.items()}
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), estimates=estimates)
    assert len(simulated.of(TestBegan)) == len(behaviours)


@pytest.mark.parametrize("what", ["process", "sandbox"])
def test_a_hedge_that_dies(what: str) -> None:
    """If one copy's session ends while the other runs on, the other decides; nobody is suspected."""
    behaviours = suite(t7=Behaviour(secs=100.0, then_secs=30.0))
    backend = Backend(suite=behaviours)

    def on_begin() -> None:
        if what == "sandbox":
            backend.kill(next(ref for ref in backend.alive() if ref.name == second[0]))
        else:
            for ref, processes in backend.processes.items():
                if ref.name == second[0]:
                    for process in processes:
                        process.crash()

    second: list[str] = []

    def consumer(stamped: object) -> None:
        event = getattr(stamped, "event", None)
        if isinstance(event, TestBegan) and event.test == "t7" and event.number == 2:
            second.append(event.sandbox)
            asyncio.get_running_loop().call_later(1.0, on_begin)

    simulated = sound_run(
        make_tests(behaviours),
        backend,
        consumers=[consumer],
        estimates=dict.fromkeys(behaviours, 1.0),
    )
    assert second
    assert set(simulated.states().values()) == {"passed"}
    assert outcomes(simulated, "t7") == ["passed"]
    assert all(incident.suspects == () for incident in simulated.of(Incident))


# -- stealing ---------------------------------------------------------------------------------------------------------


def underestimated(backend_of: Backend | None = None, **how: Any) -> Simulated:
    """Two modules: one that is thought to be long and is nothing, and one of 64 tests that takes 64 s, thought to be
    nothing: one worker gets all of it, and the others must steal.
    """
    behaviours = suite(128, **{f"t{number}": Behaviour() for number in range(64)})
    backend = backend_of or Backend(suite=behaviours)
    backend.suite = behaviours
    return sound_run(
        make_tests(behaviours, per_module=64),
        backend,
        max_parallel=8,
        estimates={f"t{number}": 1.0 if number < 64 else 0.001 for number in range(128)},
        **how,
    )


def sandbox_of_long(simulated: Simulated) -> list[str]:
    """Where the tests began that take time."""
    return [event.sandbox for event in simulated.of(TestBegan) if int(event.test[1:]) >= 64]


def test_stealing() -> None:
    """Eight workers finish one module of 64 equal tests in little more than an eighth of the time, each test once."""
    simulated = underestimated()
    assert set(simulated.states().values()) == {"passed"}
    assert len(simulated.of(TestBegan)) == 128
    assert len(set(sandbox_of_long(simulated))) == 8
    assert simulated.events[-1].at <= 64 / 8 + 2


def test_a_victim_that_does_not_answer() -> None:
    """A session that cannot answer a revoke holds up nobody: its tests run there, everything else elsewhere."""
    simulated = underestimated(Backend(suite={}, revokes=False))
    assert set(simulated.states().values()) == {"passed"}
    assert len(simulated.of(TestBegan)) == 128


@pytest.mark.parametrize("who", ["thief", "victim", "both"])
def test_a_death_in_the_middle_of_stealing(who: str) -> None:
    """Whoever dies while tests change hands, none is lost and none is blamed that did not run."""
    died: set[SandboxRef] = set()

    async def on_revoke(victim: SandboxRef) -> None:
        if len(died) < 3:
            thieves = [ref for ref in backend.alive() if ref != victim]
            doomed = {"thief": thieves, "victim": [victim], "both": [*thieves, victim]}[who]
            died.update(doomed)
            for ref in doomed:
                backend.kill(ref)
        await asyncio.sleep(0.2)

    backend = Backend(suite={}, on_revoke=on_revoke)
    simulated = underestimated(backend, offload={"max_replacements": 60})
    assert died
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.events[-1].at < 120, "nobody waited for a time limit"


def test_individual_tests_run_alone() -> None:
    """Each has a session of its own, whoever is idle beside it."""
    behaviours = suite(12)
    simulated = sound_run(make_tests(behaviours, individual=True), Backend(suite=behaviours))
    begun = [event.session for event in simulated.of(TestBegan)]
    assert len(set(begun)) == len(begun) == 12


def test_one_session_for_all_the_rest() -> None:
    """Start-up is paid once per sandbox: only a crash, a kill or a test that runs alone opens another session."""
    behaviours = suite(60)
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=4)
    assert len(simulated.of(SessionOpened)) == len(simulated.of(SessionEnded)) == 4


@pytest.mark.parametrize(("retries", "state"), [(0, "error"), (1, "error")])
def test_a_teardown_that_fails_late(retries: int, state: str) -> None:
    """What a test shared and that cannot be torn down makes it an error, is retried, and the run does not hang."""
    behaviours = suite(4, t3=Behaviour(secs=1.0, teardown_fails=True))
    simulated = sound_run(make_tests(behaviours, retries=retries), Backend(suite=behaviours), max_parallel=2)
    assert simulated.states()["t3"] == state
    assert others(simulated, "t3") == {"passed"}
    assert outcomes(simulated, "t3") == ["error"] * (retries + 1)


def test_a_hedged_test_that_is_tried_again_is_not_hedged_by_everybody() -> None:
    """A copy that is being ended is no reason to begin another, nor is one that was handed out and has not begun."""
    suite = {f"t{number}": Behaviour(secs=0.1) for number in range(40)} | {"t7": Behaviour(secs=1e6)}
    tests = make_tests(suite, retries=2)
    backend = Backend(suite=suite, session_secs=1.0)
    simulated = sound_run(tests, backend, max_parallel=20, offload={"test_timeout_secs": 40.0})
    assert simulated.states()["t7"] == "timed_out"
    begun = [event for event in simulated.of(TestBegan) if event.test == "t7"]
    assert len(begun) <= 2 * 3, "two copies of each of three attempts, at most"
    assert len(begun) > 3, "and some of them hedges, or this test proves nothing"
