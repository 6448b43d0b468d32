"""A whole run: discovery, image, stopping, saying what it waits for, and consumers that break; by simulation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from offload_core.abc import (
    Collection,
    CollectionFailed,
    CollectionSkipped,
    Context,
    Discovered,
    Framework,
    Group,
    Image,
    Launch,
    PrepareRequest,
    SandboxRef,
    Test,
)
from offload_core.errors import ConnectionLost, CreateFailed, DiscoveryError, ExecFailed, PrepareFailed, SandboxDead
from offload_core.events import (
    AttemptFinished,
    DiscoveryFinished,
    Incident,
    IncidentKind,
    Interrupted,
    PrepareFinished,
    SandboxStarting,
    Stamped,
    TestBegan,
    TestNotRun,
    Warned,
)
from offload_core.execution import StopRequest
from offload_core.results.accounting import exit_code
from tests.support.simulation import (
    Backend,
    Behaviour,
    MemoryFramework,
    MemoryProvider,
    Simulated,
    make_tests,
    simulate,
)
from tests.support.soundness import check_sound, sound_run
from tests.support.virtual_time import run_virtually

GOOD = Behaviour(secs=1.0)


def suite(count: int = 20, **special: Behaviour) -> dict[str, Behaviour]:
    """Good tests with some special ones among them."""
    return {f"t{number}": GOOD for number in range(count)} | special


def reasons(simulated: Simulated) -> set[str]:
    """Why tests have not run."""
    return {event.reason for event in simulated.of(TestNotRun)}


# -- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secs", [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 5.5, 8.0, 11.0, 19.9, 23.0])
@pytest.mark.parametrize("close_secs", [0.0, 5.0])
def test_stop(secs: float, close_secs: float) -> None:
    """Asked at any moment, the run ends at once, keeps what has finished, says of the rest why, and leaves nothing."""
    behaviours = suite(40, t5=Behaviour(secs=1.0, ends="process"), t9=Behaviour(secs=1.0, ends="sandbox"))
    backend = Backend(suite=behaviours, start_secs=lambda number: 2.0, session_secs=1.0, close_secs=close_secs)
    tests = make_tests(behaviours)

    async def main() -> Simulated:
        stop = StopRequest()
        asyncio.get_running_loop().call_later(secs, stop.ask, 15)
        return await simulate(tests, backend, stop=stop, module_secs=0.3, max_parallel=3)

    simulated = run_virtually(main())
    check_sound(simulated, tests)
    if simulated.of(Interrupted):
        assert [event.signal for event in simulated.of(Interrupted)] == [15]
        assert simulated.events[-1].at <= secs + 2.1, "no more than the creation that was under way"
        assert reasons(simulated) <= {"the run was interrupted"}
    finished = [event.attempt.test for event in simulated.of(AttemptFinished) if not event.again]
    assert {key for key, state in simulated.states().items() if state == "passed"} == set(finished) - {"t5", "t9"}


def test_cancelling_is_the_last_resort() -> None:
    """A run that is cancelled outright still terminates its sandboxes, and leaves no task."""
    behaviours = suite()
    backend = Backend(suite=behaviours)

    async def main() -> None:
        run = asyncio.create_task(simulate(make_tests(behaviours), backend))
        await asyncio.sleep(2.5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_virtually(main())
    assert backend.created == 4
    assert backend.alive() == []


@pytest.mark.parametrize("retries", [0, 2])
def test_fail_fast(retries: int) -> None:
    """The first failure ends the run, without retries; what was running is given up, and the rest says why."""
    behaviours = suite(40, t4=Behaviour(secs=0.5, outcomes=("failed",)))
    simulated = sound_run(
        make_tests(behaviours, retries=retries), Backend(suite=behaviours), max_parallel=2, fail_fast=True
    )
    states = simulated.states()
    assert states["t4"] == "failed"
    assert set(states.values()) == {"failed", "passed", "not_run"}
    assert reasons(simulated) == {"stopped by --fail-fast after the first failure"}
    assert simulated.of(Incident) == []
    failed = next(at for at, event in unstamped(simulated) if isinstance(event, AttemptFinished) and bad(event))
    assert simulated.events[-1].at == failed


def unstamped(simulated: Simulated) -> list[tuple[float, object]]:
    """Each event with its time."""
    return [(stamped.at, stamped.event) for stamped in simulated.events]


def bad(event: AttemptFinished) -> bool:
    """Whether it is a failure."""
    return event.attempt.outcome.bad


# -- discovery --------------------------------------------------------------------------------------------------------


class Scripted(MemoryFramework):
    """Discovery by script: for each group what it yields, or raises; numbers are pauses."""

    def __init__(self, script: dict[str, list[object]]) -> None:
        super().__init__([])
        self.script = script
        self.places: list[Launch] = []
        self.at_once = 0
        self.most = 0

    async def discover(self, group: Group, place: Launch) -> AsyncIterator[Discovered]:
        """As scripted."""
        self.places.append(place)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            for each in self.script[group.name]:
                if isinstance(each, Exception):
                    raise each
                if isinstance(each, (int, float)):
                    await asyncio.sleep(each)
                elif callable(each):
                    await each(place)
                else:
                    yield each  # type: ignore[misc]  # a Test or a module's result
        finally:
            self.at_once -= 1


def listed(script: dict[str, list[object]], backend: Backend | None = None, **how: Any) -> tuple[Simulated, Scripted]:
    """A run over scripted groups; all tests in it are good ones."""
    framework = Scripted(script)
    tests = [each for group in script.values() for each in group if isinstance(each, Test)]
    backend = backend or Backend(suite={})
    backend.suite = {test.key: GOOD for test in tests}
    groups = tuple(Group(name=name) for name in script)
    return sound_modules(tests, backend, framework=framework, groups=groups, **how), framework


def sound_modules(tests: Sequence[Test], backend: Backend, **how: Any) -> Simulated:
    """As `sound_run`, where modules can be results themselves."""
    simulated = run_virtually(simulate(tests, backend, limit=100_000.0, **how))
    modules = [record.test for record in simulated.accounting.records.values()]
    check_sound(simulated, [*tests, *modules])
    return simulated


def make(key: str, group: str = "a", path: str = "m.py") -> Test:
    """A test of a group."""
    return Test(key=f"{group}:{key}", id=key, group=group, path=path, affinity=path)


def test_groups_are_listed_at_once_within_the_bound() -> None:
    """As many groups at a time as `max_parallel_collection` says; the same id in two groups is two tests."""
    script: dict[str, list[object]] = {name: [10, make("t", name)] for name in "abcdef"}
    simulated, framework = listed(script, offload={"max_parallel_collection": 3})
    assert framework.most == 3
    assert len(simulated.states()) == 6
    assert set(simulated.states().values()) == {"passed"}


def test_tests_run_while_others_are_still_being_listed() -> None:
    """The tests of a module are run as soon as they are known, also if nothing more comes for a long time."""
    simulated, _ = listed({"a": [make("first", path="x.py"), 100, make("second", path="y.py")]})
    began = {event.test: at for at, event in unstamped(simulated) if isinstance(event, TestBegan)}
    assert began["a:first"] < 1
    assert began["a:second"] == pytest.approx(100.0, abs=0.1)


def test_a_group_that_cannot_be_listed() -> None:
    """It is one result in state `error`, with what the framework said; what it had found, and other groups, run."""
    script: dict[str, list[object]] = {
        "good": [make("t1", "good")],
        "bad": [make("t2", "bad"), DiscoveryError("pytest: unrecognized arguments\n--frobnicate")],
    }
    simulated, _ = listed(script)
    assert simulated.states() == {"good:t1": "passed", "bad:t2": "passed", "bad:group": "error"}
    record = simulated.accounting.records["bad:group"]
    assert record.deciding is not None
    assert record.deciding.message == "pytest: unrecognized arguments"
    assert record.deciding.details == "--frobnicate"
    errors = {event.group: event.error for event in simulated.of(DiscoveryFinished)}
    assert errors["good"] == ""
    assert "unrecognized" in errors["bad"]
    assert exit_code(simulated.accounting) == 1


def test_modules_that_are_results() -> None:
    """A module that fails to collect is an error, one that skips itself is skipped; the rest runs."""
    script: dict[str, list[object]] = {
        "a": [
            CollectionFailed(path="broken.py", message="ImportError: no x", details="Traceback"),
            make("t"),
            CollectionSkipped(path="skipped.py", message="needs Windows"),
        ]
    }
    simulated, _ = listed(script)
    assert simulated.states() == {"a:module:broken.py": "error", "a:t": "passed", "a:module:skipped.py": "skipped"}


def listed_by_sessions(
    secs: float, behaviours: dict[str, Behaviour], backend: Backend | None = None, **how: Any
) -> Simulated:
    """A run whose first session that is up lists, `secs` for each test, and goes on to run tests."""
    tests = make_tests(behaviours)
    framework = MemoryFramework(tests, secs, sessions_list=True)
    return sound_run(tests, backend or Backend(suite=behaviours), framework=framework, discover_in="sandbox", **how)


def test_a_session_lists_and_goes_on_to_run() -> None:
    """One session lists, none is made for that, and tests run in the others while it does."""
    simulated = listed_by_sessions(1.0, suite(10), sandboxes_hint=2)
    assert set(simulated.states().values()) == {"passed"}
    assert {event.sandbox for event in simulated.of(SandboxStarting)} <= {"s1", "s2", "s3", "s4"}
    (finished,) = simulated.of(DiscoveryFinished)
    assert (finished.count, finished.error) == (10, "")
    assert {event.sandbox for event in simulated.of(TestBegan)} >= {"s2"}
    first = next(at for at, event in unstamped(simulated) if isinstance(event, TestBegan))
    assert first < 2, "what was listed first did not wait for the rest"


def test_a_session_that_dies_while_it_lists() -> None:
    """The next session lists: what was found twice is one test, and the listing ends once."""
    behaviours = suite(10)
    backend = Backend(suite=behaviours)

    def strike(stamped: Stamped) -> None:
        if stamped.at > 4.5 and backend.alive() and len(backend.deaths) == 2 and len(backend.alive()) == 2:
            backend.kill(next(iter(backend.deaths)))

    simulated = listed_by_sessions(1.0, behaviours, backend, sandboxes_hint=2, max_parallel=2, consumers=[strike])
    assert set(simulated.states().values()) == {"passed"}
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.SANDBOX_DEAD]
    (finished,) = simulated.of(DiscoveryFinished)
    assert (finished.count, finished.error) == (10, "")


def test_stopping_while_a_session_lists() -> None:
    """What was listed has not run, and the listing says why it ended."""
    behaviours = suite(10)

    async def main() -> Simulated:
        stop = StopRequest()
        asyncio.get_running_loop().call_later(3.2, stop.ask, 2)
        tests = make_tests(behaviours)
        framework = MemoryFramework(tests, 1.0, sessions_list=True)
        return await simulate(
            tests, Backend(suite=behaviours), framework=framework, discover_in="sandbox", stop=stop, sandboxes_hint=1
        )

    simulated = run_virtually(main())
    (finished,) = simulated.of(DiscoveryFinished)
    assert finished.error == "the run was interrupted"
    assert finished.count == len(simulated.states()) == 3
    assert simulated.backend.alive() == []


def test_an_empty_group_warns() -> None:
    """A group without tests is said, and hurts nobody; a run without any test ends, and creates nothing more."""
    simulated, _ = listed({"a": [make("t")], "empty": []})
    (warning,) = simulated.of(Warned)
    assert "'empty' has no tests" in warning.message
    assert simulated.states() == {"a:t": "passed"}
    simulated, _ = listed({"empty": []})
    assert exit_code(simulated.accounting) == 5
    assert simulated.backend.created <= 2


def test_a_framework_that_breaks_while_listing() -> None:
    """A bug in a framework is raised, after what had been found has run and every sandbox is gone."""
    framework = Scripted({"all": [make("t", "all"), 5, ZeroDivisionError("a bug")]})
    backend = Backend(suite={"all:t": GOOD})
    events: list[Stamped] = []
    with pytest.raises(ZeroDivisionError):
        run_virtually(simulate([], backend, framework=framework, consumers=[events.append]))
    assert backend.alive() == []
    assert [event.attempt.outcome for _, event in at_and(events, AttemptFinished)] == ["passed"]


def at_and(events: Sequence[Stamped], kind: type) -> list[tuple[float, Any]]:
    """Events of a kind, with their times."""
    return [(stamped.at, stamped.event) for stamped in events if isinstance(stamped.event, kind)]


def test_listing_in_a_sandbox() -> None:
    """With `discover_in = "sandbox"` a sandbox of its own lists them, and is gone before the end."""
    backend = Backend(suite={})
    simulated, framework = listed({"a": [make("t1"), 3, make("t2", path="n.py")]}, backend, discover_in="sandbox")
    assert set(simulated.states().values()) == {"passed"}
    names = {ref.name for ref in backend.deaths}
    assert "discovery" in names
    assert framework.places[0].name == "discovery-a"
    assert backend.alive() == []


@pytest.mark.parametrize("what", ["dies", "fails"])
def test_a_sandbox_that_cannot_list(what: str) -> None:
    """Infrastructure that fails while listing is no test's failure: the run ends with the reason, and an incident."""
    backend = Backend(suite={})

    async def dies(place: Launch) -> None:
        backend.kill(next(ref for ref in backend.deaths if ref.name == "discovery"))
        await asyncio.sleep(1)

    failure: object = dies if what == "dies" else ExecFailed("no such file", operation="exec")
    simulated, _ = listed({"a": [make("t1"), 0.01, failure, make("t2", path="n.py")]}, backend, discover_in="sandbox")
    assert set(simulated.states().values()) == {"not_run"}
    (incident,) = simulated.of(Incident)
    assert incident.kind is IncidentKind.DISCOVERY_FAILED
    assert ("it died" if what == "dies" else "no such file") in incident.reason
    (reason,) = reasons(simulated)
    assert "could not be listed" in reason
    assert exit_code(simulated.accounting) == 3


@pytest.mark.parametrize("discover_in", ["host", "sandbox"])
@pytest.mark.parametrize("how", ["image", "sandbox", "listing"])
def test_groups_that_nobody_listed_are_accounted_for(how: str, discover_in: str) -> None:
    """A run whose listing is cut short or never begins is no success, even if all it had found has passed."""
    image = PrepareFailed("no such base") if how == "image" else None
    backend = Backend(suite={}, refuse=lambda number: CreateFailed("no") if how == "sandbox" else None)
    failure = [ConnectionLost("reset")] if how == "listing" else []
    script: dict[str, list[object]] = {
        "a": [make("t1")],
        "b": [50, *failure, make("t2", "b")],
        "c": [60, make("t3", "c")],
    }
    simulated, _ = listed(
        script,
        backend,
        provider=building(10.0, image),
        discover_in=discover_in,
        offload={"max_parallel_collection": 2},
    )
    assert exit_code(simulated.accounting, no_tests="pass") == 3
    assert set(simulated.states().values()) <= {"passed", "not_run"}
    listings = Counter(event.group for event in simulated.of(DiscoveryFinished))
    assert listings == Counter("abc")
    assert {"b", "c"} <= set(simulated.accounting.discovery_errors)


def test_a_sandbox_that_lists_and_cannot_be_terminated() -> None:
    """The listing counts; the termination is an incident, and tried again at the end."""
    failures = 0

    async def on_terminate(ref: SandboxRef) -> None:
        nonlocal failures
        if ref.name == "discovery" and failures < 3:
            failures += 1
            raise ConnectionLost("no answer", operation="terminate")

    backend = Backend(suite={}, on_terminate=on_terminate)
    simulated, _ = listed({"a": [make("t1")]}, backend, discover_in="sandbox")
    assert simulated.states() == {"a:t1": "passed"}
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.TERMINATE_FAILED]


# -- the image --------------------------------------------------------------------------------------------------------


def building(secs: float, result: Image | Exception | None) -> Callable[[Backend, Context], MemoryProvider]:
    """A provider whose image takes so long."""

    class Building(MemoryProvider):
        async def prepare(self, request: PrepareRequest) -> Image | None:
            await asyncio.sleep(secs)
            if isinstance(result, Exception):
                raise result
            return result

    return Building


def test_the_image_and_discovery_go_side_by_side() -> None:
    """Sandboxes are made once the image is there; tests are listed meanwhile."""
    behaviours = suite(4)
    simulated = sound_run(
        make_tests(behaviours),
        Backend(suite=behaviours),
        provider=building(30.0, Image("image-1", "key-1")),
        module_secs=25.0,
    )
    assert [(event.image_id, event.image_key) for event in simulated.of(PrepareFinished)] == [("image-1", "key-1")]
    starts = [at for at, event in unstamped(simulated) if isinstance(event, SandboxStarting)]
    assert min(starts) == 30.0
    assert simulated.events[-1].at < 36


def test_an_image_that_cannot_be_built() -> None:
    """Nothing runs, every test says why, and it is an incident."""
    behaviours = suite()
    simulated = sound_run(
        make_tests(behaviours), Backend(suite=behaviours), provider=building(5.0, PrepareFailed("step 3: no such file"))
    )
    assert set(simulated.states().values()) == {"not_run"}
    assert reasons(simulated) == {"the image could not be prepared: step 3: no such file"}
    assert [incident.kind for incident in simulated.of(Incident)] == [IncidentKind.PREPARE_FAILED]
    assert simulated.backend.created == 0


def test_an_image_may_take_hours() -> None:
    """A build that takes long is waited for, and named; the watchdog does not take it for a stall."""
    behaviours = suite(2)
    simulated = sound_run(
        make_tests(behaviours),
        Backend(suite=behaviours),
        provider=building(10_000.0, None),
        offload={"test_timeout_secs": 10.0},
    )
    assert set(simulated.states().values()) == {"passed"}
    assert "waiting for the image" in simulated.of(Warned)[0].message


# -- watching ---------------------------------------------------------------------------------------------------------


def test_it_says_what_it_waits_for() -> None:
    """After a minute without any progress the run names the tests that run, where, and for how long; each minute."""
    behaviours = {f"t{number}": Behaviour(secs=200.0) for number in range(5)}
    simulated = sound_run(
        make_tests(behaviours, per_module=1), Backend(suite=behaviours), max_parallel=5, offload={"hedge": False}
    )
    messages = [event.message for event in simulated.of(Warned)]
    assert len(messages) == 3
    assert "t0 on s1" in messages[0]
    assert "and 2 more" in messages[0]
    assert "nothing has finished for 6" in messages[0]


def test_it_ends_when_nothing_can_come() -> None:
    """A discovery that never ends is waited for as long as a test might take and five minutes, then given up."""
    simulated, _ = listed({"a": [make("t"), 1e9]}, offload={"test_timeout_secs": 100.0})
    assert simulated.states() == {"a:t": "passed"}
    (incident,) = simulated.of(Incident)
    assert incident.kind is IncidentKind.STALLED
    assert "discovery" in incident.reason
    assert 400 < simulated.events[-1].at < 410


def test_a_session_that_cannot_be_opened_is_not_waited_for() -> None:
    """A framework whose `open` never returns: the watchdog ends the run, and even then every sandbox is gone."""

    class Stuck(MemoryFramework):
        async def open(self, place: Launch, collection: Collection) -> Any:
            await asyncio.Event().wait()

    behaviours = suite(3)
    tests = make_tests(behaviours)
    simulated = sound_run(tests, Backend(suite=behaviours), framework=Stuck(tests), offload={"test_timeout_secs": 10.0})
    assert set(simulated.states().values()) == {"not_run"}
    assert IncidentKind.STALLED in {incident.kind for incident in simulated.of(Incident)}


# -- consumers --------------------------------------------------------------------------------------------------------


def test_a_consumer_that_raises() -> None:
    """It is dropped, the others are told once and go on in order, and the run is not touched by it."""
    behaviours = suite()
    seen: list[Stamped] = []

    def broken(stamped: Stamped) -> None:
        seen.append(stamped)
        if isinstance(stamped.event, TestBegan):
            raise ZeroDivisionError("a bug in a report")

    simulated = sound_run(make_tests(behaviours), Backend(suite=behaviours), consumers=[broken, broken])
    assert set(simulated.states().values()) == {"passed"}
    warnings = [event.message for event in simulated.of(Warned)]
    assert len(warnings) == 2
    assert all("ZeroDivisionError('a bug in a report')" in warning for warning in warnings)
    assert isinstance(seen[-1].event, TestBegan)
    first = next(index for index, stamped in enumerate(simulated.events) if isinstance(stamped.event, TestBegan))
    assert isinstance(simulated.events[first + 1].event, Warned)


def test_the_reason_of_a_lost_connection_to_the_dead() -> None:
    """An error class of a provider travels into the words of the run: who failed, in what, and why."""
    error = SandboxDead("out of memory", operation="exec", sandbox="m0", provider="memory")

    class Dying(MemoryFramework):
        async def open(self, place: Launch, collection: Collection) -> Any:
            raise error

    behaviours = suite(3)
    tests = make_tests(behaviours)
    simulated = sound_run(tests, Backend(suite=behaviours), framework=Dying(tests))
    (reason,) = reasons(simulated)
    assert "out of memory" in reason


_: type[Framework[Any]] = Scripted
