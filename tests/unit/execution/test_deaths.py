"""Sandboxes that die, fall silent, do not start or are refused: what is replaced, what runs again, when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from attrs import evolve

from offload_core.abc import LivenessSettings, Outcome, SandboxRef
from offload_core.errors import AuthenticationFailed, CapacityExhausted, ConnectionLost, CreateFailed
from offload_core.events import (
    AttemptFinished,
    Incident,
    IncidentKind,
    RetryWaiting,
    SandboxEnd,
    SandboxEnded,
    SandboxReady,
    SandboxStarting,
    Stamped,
    TestBegan,
    TestNotRun,
    Warned,
)
from tests.support.simulation import Backend, Behaviour, Simulated, make_tests, simulate
from tests.support.soundness import sound_run
from tests.support.virtual_time import run_virtually

GOOD = Behaviour(secs=1.0)


def suite(count: int = 20, **special: Behaviour) -> dict[str, Behaviour]:
    """Good tests with some special ones among them."""
    return {f"t{number}": GOOD for number in range(count)} | special


def kinds(simulated: Simulated) -> list[IncidentKind]:
    """The kinds of incidents, in order."""
    return [incident.kind for incident in simulated.of(Incident)]


def at(secs: float, act: Callable[[], None]) -> Callable[[Stamped], None]:
    """A consumer that acts so long after the first event."""
    armed: list[bool] = []

    def consumer(stamped: Stamped) -> None:
        if not armed:
            armed.append(True)
            asyncio.get_running_loop().call_later(secs, act)

    return consumer


def first_of(backend: Backend) -> SandboxRef:
    """The first sandbox that was made."""
    return next(iter(backend.deaths))


PHASES = {
    # phase: (how the backend is, max_parallel, when the first sandbox dies)
    "before hello": (Backend(suite={}, session_secs=10.0), 2, 5.0),
    "importing": (Backend(suite={}, imports={"test_0.py": "slowly"}), 2, 3.0),
    "running": (Backend(suite={}), 2, 2.5),
    "between tests": (Backend(suite={}), 2, 3.0),
    "closing": (Backend(suite={}, close_secs=30.0), 1, 35.0),
}


@pytest.mark.parametrize("how", ["kill", "silence"])
@pytest.mark.parametrize("pushes", [True, False])
@pytest.mark.parametrize("phase", list(PHASES))
def test_a_death_in_any_phase(phase: str, pushes: bool, how: str) -> None:
    """Whatever it was doing: what had finished is kept, the rest runs elsewhere, and it is nobody's failure."""
    template, parallel, when = PHASES[phase]
    backend = evolve(template, suite=suite(), pushes=pushes, deaths={}, processes={}, died_at={}, silent=set())

    def strike() -> None:
        ref = first_of(backend)
        if how == "kill":
            backend.kill(ref)
        else:
            backend.silent.add(ref)

    simulated = sound_run(
        make_tests(backend.suite),
        backend,
        max_parallel=parallel,
        consumers=[at(when, strike)],
        offload={"hedge": False},
        liveness=LivenessSettings(),
    )
    assert set(simulated.states().values()) == {"passed"}
    died = IncidentKind.SANDBOX_DEAD if how == "kill" else IncidentKind.SANDBOX_LOST
    assert kinds(simulated) == [died]
    (end,) = (event for event in simulated.of(SandboxEnded) if event.how is not SandboxEnd.TERMINATED)
    assert end.how is (SandboxEnd.DEAD if how == "kill" else SandboxEnd.LOST)
    assert end.sandbox == "s1"
    cut = sum(event.attempt.outcome is Outcome.LOST for event in simulated.of(AttemptFinished))
    assert len(simulated.of(TestBegan)) == 20 + cut, "only what was running began twice"
    assert cut <= 1
    assert simulated.events[-1].at < 100


def test_the_death_of_an_idle_sandbox() -> None:
    """Nothing is lost with it, and it is not replaced if there is nothing to do for another."""
    behaviours = suite(1, t0=Behaviour(secs=50.0)) | {"t1": Behaviour(secs=1.0)}
    backend = Backend(suite=behaviours)

    def strike() -> None:
        idle = next(event.sandbox for event in begun if event.test == "t1")
        backend.kill(next(ref for ref in backend.alive() if ref.name == idle))

    begun: list[TestBegan] = []

    def note(stamped: Stamped) -> None:
        if isinstance(stamped.event, TestBegan):
            begun.append(stamped.event)

    simulated = sound_run(
        make_tests(behaviours, per_module=1),
        backend,
        max_parallel=2,
        consumers=[note, at(20.0, strike)],
        offload={"hedge": False},
    )
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == [IncidentKind.SANDBOX_DEAD]
    assert backend.created == 2


def test_results_that_left_before_the_death_are_kept() -> None:
    """What had been reported when the sandbox died counts, even if nobody had read it yet."""
    behaviours = suite(2, t1=Behaviour(secs=0.0, ends="once-sandbox"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), max_parallel=1)
    assert simulated.backend.begun["t0"] == 1
    assert set(simulated.states().values()) == {"passed"}


def test_all_die_again_and_again_up_to_the_limit() -> None:
    """After `max_replacements` it is enough: the rest has not run, and says why."""
    behaviours = suite(60)
    backend = Backend(suite=behaviours)
    backend.on_create = lambda ref: void(asyncio.get_running_loop().call_later(5.5, backend.kill, ref))
    simulated = sound_run(
        make_tests(behaviours), backend, max_parallel=2, offload={"max_replacements": 3, "hedge": False}
    )
    assert backend.created == 5
    states = simulated.states()
    assert set(states.values()) == {"passed", "not_run"}
    assert list(states.values()).count("passed") >= 5 * 4
    assert {event.reason for event in simulated.of(TestNotRun)} == {"5 sandboxes were created, and all ended"}
    assert IncidentKind.BREAKER not in kinds(simulated)


def void(_: object) -> None:
    """Nothing."""


def test_the_default_limit() -> None:
    """By default as many are replaced as run in parallel, at least eight."""
    for parallel, created in ((1, 9), (12, 24)):
        behaviours = suite(400)
        backend = Backend(suite=behaviours)
        backend.on_create = lambda ref, backend=backend: void(  # type: ignore[misc]
            asyncio.get_running_loop().call_later(5.5, backend.kill, ref)
        )
        sound_run(make_tests(behaviours), backend, max_parallel=parallel, offload={"hedge": False})
        assert backend.created == created


@pytest.mark.parametrize("session", ["dies", "goodbye", "mute", "garbage"])
def test_a_framework_that_never_works(session: str) -> None:
    """Sessions that never get to a test end the run, in bounded tries, with a reason that says what they said."""
    behaviours = suite()
    backend = Backend(suite=behaviours, session=lambda number: session)
    simulated = sound_run(make_tests(behaviours), backend, offload={"test_timeout_secs": 60.0})
    assert set(simulated.states().values()) == {"not_run"}
    (reason,) = {event.reason for event in simulated.of(TestNotRun)}
    said = {
        "dies": "no such module",
        "goodbye": "usage error",
        "mute": "it said nothing (60 s)",
        "garbage": "that is not the protocol",
    }
    assert said[session] in reason
    assert "sandboxes in a row ended before any test got a verdict" in reason
    assert kinds(simulated).count(IncidentKind.BREAKER) == 1
    assert backend.sessions <= 40
    assert backend.created <= 4 + 4


@pytest.mark.parametrize("session", ["dies", "goodbye", "mute", "leaves"])
def test_a_session_that_does_not_start_once(session: str) -> None:
    """One bad start is tried again in the same sandbox; it costs no test and no sandbox."""
    behaviours = suite()
    backend = Backend(suite=behaviours, session=lambda number: session if number == 1 else "")
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2, offload={"test_timeout_secs": 30.0})
    assert set(simulated.states().values()) == {"passed"}
    assert backend.created == 2
    assert backend.sessions == 3 if session != "mute" else backend.sessions <= 3


def test_the_breaker_forgets_what_was_followed_by_verdicts() -> None:
    """Sandboxes that fail before any test, with verdicts in between, are bad luck: no breaker."""
    behaviours = suite(100)
    backend = Backend(suite=behaviours, session=lambda number: "dies" if number % 4 >= 2 else "")
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=3, offload={"max_replacements": 50})
    assert set(simulated.states().values()) == {"passed"}
    assert IncidentKind.BREAKER not in kinds(simulated)


def test_what_was_kept_for_the_next_session_is_not_lost() -> None:
    """A sandbox that dies while one session closes still has a test that was to run alone in the next."""
    behaviours = suite(20)
    tests = [evolve(test, individual=test.path != "test_0.py") for test in make_tests(behaviours)]
    backend = Backend(suite=behaviours, close_secs=10.0)
    simulated = sound_run(
        tests, backend, max_parallel=1, module_secs=20.0, consumers=[at(45.0, lambda: backend.kill(first_of(backend)))]
    )
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.events[-1].at < 400


def test_the_dead_make_room_at_once() -> None:
    """However long ending a dead sandbox takes, its replacement starts when it dies, and takes its suspect."""
    behaviours = suite(20, t3=Behaviour(secs=1.0, ends="once-sandbox"))

    async def on_terminate(ref: SandboxRef) -> None:
        if backend.deaths[ref].is_set():
            await asyncio.sleep(25.0)

    backend = Backend(suite=behaviours, on_terminate=on_terminate)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2, offload={"hedge": False})
    died = next(stamped.at for stamped in simulated.events if isinstance(stamped.event, Incident))
    starts = [stamped.at for stamped in simulated.events if isinstance(stamped.event, SandboxStarting)]
    assert starts == [0.0, 0.0, died]
    again = [event for event in simulated.of(TestBegan) if event.test == "t3"][1]
    assert again.sandbox == "s3"
    assert set(simulated.states().values()) == {"passed"}


def test_a_session_that_says_something_is_not_lost() -> None:
    """As long as results come out of it, a sandbox whose probes fail is not lost."""
    behaviours = suite(60)
    backend = Backend(suite=behaviours, probes_fail=True, pushes=False)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=2, liveness=LivenessSettings())
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == []


def test_a_start_that_is_not_needed_any_more() -> None:
    """When everything is done, a session that has not said hello yet is not waited for."""
    behaviours = suite(3)
    backend = Backend(suite=behaviours, session=lambda number: "mute" if number else "")
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=3)
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.events[-1].at < 10
    assert kinds(simulated) == []


# -- creating ---------------------------------------------------------------------------------------------------------


def test_never_more_than_there_is_work_for() -> None:
    """Three tests take three sandboxes at most, however many are allowed."""
    behaviours = suite(3)
    simulated = sound_run(
        make_tests(behaviours, per_module=1), Backend(suite=behaviours), max_parallel=50, sandboxes_hint=1
    )
    assert simulated.backend.created <= 3


@pytest.mark.parametrize("parallel", [1, 3, 7])
def test_never_more_than_allowed(parallel: int) -> None:
    """At no time are there more sandboxes than `max_parallel`, starting ones included."""
    behaviours = suite(100, t50=Behaviour(secs=1.0, ends="sandbox"), t70=Behaviour(secs=1.0, ends="sandbox"))
    simulated = sound_run(
        make_tests(behaviours), Backend(suite=behaviours, start_secs=lambda number: 2.0), max_parallel=parallel
    )
    there: set[str] = set()
    most = 0
    for stamped in simulated.events:
        if isinstance(stamped.event, SandboxStarting):
            there.add(stamped.event.sandbox)
        elif isinstance(stamped.event, SandboxEnded):
            there.discard(stamped.event.sandbox)
        most = max(most, len(there))
    assert most == parallel


def test_sandboxes_start_before_the_first_test_is_found() -> None:
    """While discovery runs, as many as the last run needed start beside it; each works the moment it is ready."""
    behaviours = suite()
    simulated = sound_run(
        make_tests(behaviours),
        Backend(suite=behaviours, start_secs=lambda number: 10.0),
        max_parallel=8,
        sandboxes_hint=5,
        module_secs=8.0,
    )
    starts = [stamped.at for stamped in simulated.events if isinstance(stamped.event, SandboxStarting)]
    assert starts.count(0.0) == 5
    first = next(stamped.at for stamped in simulated.events if isinstance(stamped.event, TestBegan))
    assert first == pytest.approx(10.0)


def test_each_sandbox_works_when_it_is_ready() -> None:
    """One that is slow to start holds nobody up, and is not waited for when everything is done."""
    behaviours = suite(10)
    backend = Backend(suite=behaviours, start_secs=lambda number: 0.0 if number == 0 else 55.0)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=4)
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.events[-1].at == pytest.approx(10.0, abs=1.0)
    reasons = {event.reason for event in simulated.of(SandboxEnded) if event.how is SandboxEnd.NOT_CREATED}
    assert reasons == {"no longer needed"}


def test_create_is_retried() -> None:
    """A create that fails in passing is tried again, and said."""
    behaviours = suite()
    backend = Backend(suite=behaviours, refuse=lambda number: CreateFailed("hiccup") if number < 2 else None)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=1)
    assert set(simulated.states().values()) == {"passed"}
    assert [(wait.operation, wait.error) for wait in simulated.of(RetryWaiting)] == [("create", "hiccup")] * 2
    assert kinds(simulated) == []


@pytest.mark.parametrize("error", [AuthenticationFailed("no token"), CreateFailed("no"), ConnectionLost("no")])
def test_no_sandbox_can_be_created(error: Exception) -> None:
    """Then the run ends, and each test says why it has not run."""
    behaviours = suite()
    backend = Backend(suite=behaviours, refuse=lambda number: error)
    simulated = sound_run(make_tests(behaviours), backend)
    assert set(simulated.states().values()) == {"not_run"}
    (reason,) = {event.reason for event in simulated.of(TestNotRun)}
    assert str(error) in reason
    assert set(kinds(simulated)) == {IncidentKind.CREATE_FAILED, IncidentKind.BREAKER}


def test_some_cannot_be_created() -> None:
    """The run goes on with the others."""
    behaviours = suite()
    backend = Backend(suite=behaviours, refuse=refuse)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=3)
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == [IncidentKind.CREATE_FAILED] * 2
    assert len(simulated.of(SandboxReady)) >= 1


def refuse(number: int) -> Exception | None:
    """The second and third are refused for good."""
    return AuthenticationFailed("no token") if number in (1, 2) else None


def test_a_full_backend() -> None:
    """The run goes on with fewer sandboxes than it wanted, says so, and asks again in growing intervals."""
    behaviours = suite(60, t59=Behaviour(secs=100.0))
    backend = Backend(suite=behaviours, refuse=lambda number: None if number < 2 else CapacityExhausted("quota"))
    simulated = sound_run(make_tests(behaviours, per_module=60), backend, max_parallel=8, offload={"hedge": False})
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == []
    assert len(simulated.of(SandboxReady)) == 2
    warnings = [event.message for event in simulated.of(Warned) if "no room" in event.message]
    assert all("quota" in warning for warning in warnings)
    assert 2 <= len(warnings) < 8


def test_a_full_backend_that_gets_room() -> None:
    """When there is room again, the run grows to what it wanted."""
    behaviours = suite(200)
    loop_time: list[float] = []

    def refuse_for_a_while(number: int) -> Exception | None:
        now = asyncio.get_running_loop().time()
        loop_time[:] = loop_time or [now]
        return CapacityExhausted("quota") if number >= 2 and now - loop_time[0] < 12 else None

    backend = Backend(suite=behaviours, refuse=refuse_for_a_while)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=6)
    assert set(simulated.states().values()) == {"passed"}
    assert simulated.accounting.sandboxes_peak == 6
    assert simulated.events[-1].at < 60


def test_a_backend_without_any_room() -> None:
    """With no sandbox at all it waits a while, in growing intervals, and gives up with the reason."""
    behaviours = suite()
    backend = Backend(suite=behaviours, refuse=lambda number: CapacityExhausted("quota"))
    simulated = sound_run(make_tests(behaviours), backend)
    assert set(simulated.states().values()) == {"not_run"}
    (reason,) = {event.reason for event in simulated.of(TestNotRun)}
    assert "quota" in reason
    assert 60 < simulated.events[-1].at < 300


def test_room_that_comes_late() -> None:
    """A backend that is full at first, and has room after a minute, costs a minute and no test."""
    behaviours = suite()
    backend = Backend(suite=behaviours)

    def full_at_first(number: int) -> Exception | None:
        return CapacityExhausted("quota") if asyncio.get_running_loop().time() < 60 else None

    backend.refuse = full_at_first
    simulated = sound_run(make_tests(behaviours), backend)
    assert set(simulated.states().values()) == {"passed"}


# -- ending -----------------------------------------------------------------------------------------------------------


def test_termination_that_fails() -> None:
    """It is tried again, then an incident, and swept at the end; the run's results are what they are."""
    behaviours = suite()
    calls: list[SandboxRef] = []

    async def on_terminate(ref: SandboxRef) -> None:
        calls.append(ref)
        if len(calls) <= 3:
            raise ConnectionLost("no answer", operation="terminate", sandbox=ref.id)

    backend = Backend(suite=behaviours, on_terminate=on_terminate)
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=1)
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == [IncidentKind.TERMINATE_FAILED]
    assert len(calls) == 4
    assert simulated.of(Warned) == []


@pytest.mark.parametrize("how", ["hangs", "breaks"])
def test_termination_that_never_works(how: str) -> None:
    """It is bounded, an incident, and what is left is named with what to do about it; tests are not touched by it."""
    behaviours = suite(4)

    async def on_terminate(ref: SandboxRef) -> None:
        if how == "breaks":
            raise ZeroDivisionError("a bug in a plugin")
        await asyncio.Event().wait()

    backend = Backend(suite=behaviours, on_terminate=on_terminate)
    simulated = run_virtually(simulate(make_tests(behaviours), backend, max_parallel=1))
    assert set(simulated.states().values()) == {"passed"}
    assert kinds(simulated) == [IncidentKind.TERMINATE_FAILED]
    (warning,) = simulated.of(Warned)
    assert "`offload reap --run run`" in warning.message
    assert len(backend.alive()) == 1


def test_a_hook_that_ends_every_session() -> None:
    """Sessions that start and end before every test: the modules are errors, after two tries each."""
    behaviours = suite()
    backend = Backend(suite=behaviours, session=lambda number: "leaves")
    simulated = sound_run(make_tests(behaviours), backend, max_parallel=1)
    assert set(simulated.states().values()) == {"error"}
    assert backend.sessions <= 8
    record = simulated.accounting.records["t0"]
    assert record.deciding is not None
    assert "a hook ended it" in record.deciding.message


def test_an_end_that_nobody_saw_is_no_evidence() -> None:
    """When the connection to a test process breaks, its sandbox is lost; the test runs elsewhere and passes."""
    behaviours = suite(t13=Behaviour(secs=1.0, ends="once-unseen"))
    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours))
    assert set(simulated.states().values()) == {"passed"}
    (incident,) = simulated.of(Incident)
    assert incident.kind is IncidentKind.SANDBOX_LOST
    assert "the connection broke" in incident.reason
    assert incident.suspects == ("t13",)
