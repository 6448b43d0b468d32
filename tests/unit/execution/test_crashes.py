"""Tests that end their process or their sandbox: who is blamed, who is not, and what runs again where."""

from __future__ import annotations

import pytest
from attrs import evolve

from offload_core.events import (
    AttemptFinished,
    Incident,
    IncidentKind,
    SandboxStarting,
    SessionOpened,
    Stamped,
    TestBegan,
)
from tests.support.simulation import Backend, Behaviour, Simulated, make_tests
from tests.support.soundness import sound_run

GOOD = Behaviour(secs=1.0)


def suite(**special: Behaviour) -> dict[str, Behaviour]:
    """Thirty good tests with some special ones among them."""
    return {f"t{number}": GOOD for number in range(30)} | special


def attempts(simulated: Simulated, key: str) -> list[str]:
    """The outcomes of a test's attempts, in order."""
    return [attempt.outcome.value for attempt in simulated.accounting.records[key].attempts]


def places(simulated: Simulated, key: str) -> list[tuple[str, str]]:
    """Where a test began: sandbox and session."""
    return [(event.sandbox, event.session) for event in simulated.of(TestBegan) if event.test == key]


def session_mates(simulated: Simulated, session: str) -> list[str]:
    """What began in a session, in order."""
    return [event.test for event in simulated.of(TestBegan) if event.session == session]


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("what", ["process", "sandbox"])
def test_conviction(what: str, retries: int) -> None:
    """What ends its process each time runs twice, the second time alone; what ends its sandbox, once more alone."""
    behaviours = suite(t13=Behaviour(secs=1.0, ends=what))
    simulated = sound_run(make_tests(behaviours, retries=retries), Backend(suite=behaviours))
    states = simulated.states()
    assert states.pop("t13") == "crashed"
    assert set(states.values()) == {"passed"}
    assert attempts(simulated, "t13") == {"process": ["crashed"] * 2, "sandbox": ["lost", "lost", "crashed"]}[what]
    (first, first_session), *alone = places(simulated, "t13")
    for _, session in alone:
        assert session_mates(simulated, session) == ["t13"]
    assert len(session_mates(simulated, first_session)) > 1
    created = len(simulated.of(SandboxStarting))
    if what == "sandbox":
        assert len({first, *(sandbox for sandbox, _ in alone)}) == 3
        assert created == 4 + 3, "the dead are replaced while work remains"
    else:
        assert created == 4
    kind = IncidentKind.SESSION_CRASHED if what == "process" else IncidentKind.SANDBOX_DEAD
    incidents = simulated.of(Incident)
    told = [(incident.kind, incident.suspects) for incident in incidents]
    assert told == [(kind, ("t13",))] * len(attempts(simulated, "t13"))
    assert "t13" in incidents[0].requeued
    assert incidents[-1].requeued == ()


@pytest.mark.parametrize(("what", "state"), [("process", "flaky"), ("sandbox", "passed")])
def test_a_suspect_that_passes_alone(what: str, state: str) -> None:
    """After a crash of its process it is flaky; after the death of its sandbox, which proves nothing, it has passed."""
    behaviours = suite(t13=Behaviour(secs=1.0, ends=f"once-{what}"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours))
    states = simulated.states()
    assert states.pop("t13") == state
    assert set(states.values()) == {"passed"}
    assert len(simulated.of(Incident)) == 1


def test_a_suspect_has_a_session_to_itself_where_others_have_run() -> None:
    """Whoever is idle when it is to run alone opens a new session for it: what ran before might be the culprit."""
    behaviours = suite(t13=Behaviour(secs=30.0, ends="process"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=3, offload={"hedge": False})
    _, *alone = places(simulated, "t13")
    assert alone
    for _, session in alone:
        assert session_mates(simulated, session) == ["t13"]


def test_a_suspect_runs_in_a_fresh_sandbox() -> None:
    """After the death of a sandbox its suspect runs in one in which nothing has run, even if others are idle."""
    behaviours = suite(t13=Behaviour(secs=20.0, ends="sandbox"))
    simulated = sound_run(
        make_tests(behaviours), Backend(suite=behaviours, start_secs=lambda number: 5.0), max_parallel=2
    )
    for sandbox, _ in places(simulated, "t13")[1:]:
        assert [event.test for event in simulated.of(TestBegan) if event.sandbox == sandbox] == ["t13"]
    assert simulated.states()["t13"] == "crashed"


def test_a_suspect_that_fails_alone_is_retried_like_any() -> None:
    """A failure is a failure, and has its own retries; the crash before used up none."""
    behaviours = suite(t13=Behaviour(secs=1.0, ends="once-process", outcomes=("failed", "failed", "passed")))
    simulated = sound_run(make_tests(behaviours, retries=1), Backend(suite=behaviours))
    assert attempts(simulated, "t13") == ["crashed", "failed", "passed"]
    assert simulated.states()["t13"] == "flaky"


@pytest.mark.parametrize("what", ["process", "sandbox"])
def test_several_killers_and_their_neighbours(what: str) -> None:
    """With many killers in one suite each is convicted, and nobody else is even an attempt worse."""
    killers = {f"t{number}": Behaviour(secs=1.0, ends=what) for number in (0, 1, 9, 10, 29)}
    behaviours = suite(**killers)
    simulated = sound_run(
        make_tests(behaviours), Backend(suite=behaviours), max_parallel=3, offload={"max_replacements": 30}
    )
    assert {key for key, state in simulated.states().items() if state == "crashed"} == set(killers)
    for key in set(behaviours) - set(killers):
        assert attempts(simulated, key) == ["passed"]
        assert len(places(simulated, key)) == 1


def test_a_killer_alone_in_the_world() -> None:
    """With one test, one sandbox and no replacement to be had, it is still convicted rather than waited for."""
    behaviours = {"t0": Behaviour(secs=1.0, ends="process")}
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=1)
    assert simulated.states() == {"t0": "crashed"}


@pytest.mark.parametrize("what", ["process", "sandbox"])
def test_an_import_that_kills(what: str) -> None:
    """The tests of a module whose import ends the process are convicted together; other modules are not blamed."""
    behaviours = suite()
    backend = Backend(suite=behaviours, imports={"test_1.py": what})
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2, offload={"max_replacements": 50})
    states = simulated.states()
    assert {key for key, state in states.items() if state == "crashed"} == {f"t{number}" for number in range(10, 20)}
    assert set(states.values()) == {"crashed", "passed"}
    assert not any(backend.begun[f"t{number}"] for number in range(10, 20))


def test_suspects_are_nobody_elses_to_take() -> None:
    """Suspects that share a session keep it to themselves, also if they turn out to be innocent and others are idle."""
    slow = {f"t{number}": Behaviour(secs=10.0) for number in range(10, 20)}
    behaviours = suite(**slow)
    imports = {"test_1.py": "process"}
    backend = Backend(suite=behaviours, imports=imports)

    def innocent(stamped: Stamped) -> None:
        if isinstance(stamped.event, Incident):
            imports.clear()

    simulated = sound_run(
        make_tests(behaviours),
        backend,
        consumers=[innocent],
        estimates={key: 0.001 if key in slow else 1.0 for key in behaviours},
        offload={"hedge": False},
    )
    assert set(simulated.states().values()) == {"passed"}
    (incident,) = simulated.of(Incident)
    assert set(incident.suspects) == set(slow)
    (session,) = {event.session for event in simulated.of(TestBegan) if event.test in slow}
    assert session_mates(simulated, session) == list(slow)


def test_a_session_that_ends_before_any_test() -> None:
    """A module before which the process ends, twice, with nothing running is an error; the rest runs."""
    behaviours = suite()
    backend = Backend(suite=behaviours, imports={"test_1.py": "process"})
    tests = [
        evolve(test, path="test_1b.py" if test.path == "test_1.py" else test.path) for test in make_tests(behaviours)
    ]
    backend.imports = {"test_1b.py": "silent-process"}
    simulated = sound_run(tests, backend, max_parallel=1)
    states = simulated.states()
    assert {key for key, state in states.items() if state == "error"} == {f"t{number}" for number in range(10, 20)}
    assert {state for key, state in states.items() if not key.startswith("t1") or key == "t1"} == {"passed"}


def test_goodbye_in_the_middle() -> None:
    """A session that says goodbye on its own accord (pytest.exit) loses nothing: the rest runs in another."""
    behaviours = suite(t3=Behaviour(secs=1.0, outcomes=("error",), ends="exit"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=1)
    states = simulated.states()
    assert states.pop("t3") == "error"
    assert set(states.values()) == {"passed"}
    assert simulated.of(Incident) == []
    assert len(simulated.of(SessionOpened)) == 2


def test_a_process_that_goes_just_before_its_sandbox() -> None:
    """Streams that end a moment before the death is known are that death: nobody is flaky for it."""
    behaviours = suite(t13=Behaviour(secs=1.0, ends="once-sandbox-late"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours, session_secs=1.0))
    states = simulated.states()
    assert set(states.values()) == {"passed"}
    assert attempts(simulated, "t13") == ["lost", "passed"]
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.SANDBOX_DEAD]


def test_protocol_violation() -> None:
    """A session that talks nonsense costs its sandbox, and no test."""
    behaviours = suite()
    backend = Backend(suite=behaviours, session=lambda number: "garbage" if number == 0 else "")
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2)
    assert set(simulated.states().values()) == {"passed"}
    kinds = {incident.kind for incident in simulated.of(Incident)}
    assert IncidentKind.SANDBOX_UNUSABLE in kinds


def test_nonsense_in_the_middle_of_work() -> None:
    """What the session held and ran when it broke the protocol runs elsewhere."""
    behaviours = suite(t5=Behaviour(secs=1.0, ends="once-garbage"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=2)
    states = simulated.states()
    assert states.pop("t5") in ("flaky", "passed")
    assert set(states.values()) == {"passed"}


def test_the_incident_says_what_happened_to_whom() -> None:
    """The incident of a death names the sandbox, the session, the suspect and what was requeued with it."""
    behaviours = suite(t0=Behaviour(secs=5.0, ends="once-sandbox"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=1)
    (incident,) = simulated.of(Incident)
    (first, session), _ = places(simulated, "t0")
    assert (incident.kind, incident.sandbox, incident.session) == (IncidentKind.SANDBOX_DEAD, first, session)
    assert incident.suspects == ("t0",)
    assert set(incident.requeued) >= {"t0"}
    again = [event for event in simulated.of(AttemptFinished) if event.again]
    assert [event.attempt.test for event in again] == ["t0"]
