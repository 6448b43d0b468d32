"""Who is blamed for a crash: rulings by evidence, and how far a poison test gets."""

from __future__ import annotations

import pytest

from offload_core.abc import Test
from offload_core.scheduling import Crash, CrashKind, Poison, Ruling

BOTH = pytest.mark.parametrize("kind", list(CrashKind))


def make(key: str, path: str = "m.py") -> Test:
    """A test of a module."""
    return Test(key=key, id=key, group="g", path=path, affinity=path)


A, B, C, D = (make(key) for key in "abcd")
X, Y = make("x", "other.py"), make("y", "other.py")


@BOTH
def test_the_running_test_is_suspected_and_no_other(kind: CrashKind) -> None:
    """What ran is a suspect, to run alone; what had not begun has nothing to do with it."""
    crash = Crash(kind=kind, running=(A,), unstarted=(B, C))
    assert Poison().judge(crash) == Ruling(suspects=((A,),), requeue=(B, C))


def test_alone_and_again_is_convicted() -> None:
    """A suspect that ran alone when its process ended again is convicted."""
    assert Poison().judge(Crash(kind=CrashKind.PROCESS, running=(A,), on_trial=True)) == Ruling(convicted=(A,))


def test_a_sandbox_has_to_die_twice_of_one_that_is_alone() -> None:
    """Sandboxes die by chance, too: one that dies around a suspect proves nothing yet, a second one does."""
    poison = Poison()
    alone, other = (Crash(kind=CrashKind.SANDBOX, running=(test,), on_trial=True) for test in (A, B))
    assert poison.judge(alone) == Ruling(suspects=((A,),))
    assert poison.judge(other) == Ruling(suspects=((B,),))
    assert poison.judge(alone) == Ruling(convicted=(A,))


@BOTH
def test_a_batch_is_halved_until_one_is_alone(kind: CrashKind) -> None:
    """Where nobody tells which test of a batch ran, halves are suspected; a single one is convicted in the end."""
    poison = Poison()
    batch = tuple(make(str(number)) for number in range(13))
    guilty = batch[9]
    ruling = poison.judge(Crash(kind=kind, running=batch))
    rounds = 0
    cleared: set[Test] = set()
    while not ruling.convicted:
        rounds += 1
        assert {test for unit in ruling.suspects for test in unit} | cleared == set(batch)
        cleared |= {test for unit in ruling.suspects for test in unit if guilty not in unit}
        (unit,) = (unit for unit in ruling.suspects if guilty in unit)
        ruling = poison.judge(Crash(kind=kind, running=unit, on_trial=True))
    assert ruling == Ruling(convicted=(guilty,))
    assert rounds == (4 if kind is CrashKind.PROCESS else 5)
    assert len(cleared) == 12


@BOTH
def test_a_crash_while_importing(kind: CrashKind) -> None:
    """The tests that were asked for of the module being imported are suspected together, then convicted together."""
    crash = Crash(kind=kind, importing="m.py", unstarted=(A, X, B, Y))
    assert Poison().judge(crash) == Ruling(suspects=((A, B),), requeue=(X, Y))
    again = Crash(kind=kind, importing="m.py", unstarted=(A, B), on_trial=True)
    poison = Poison()
    if kind is CrashKind.SANDBOX:
        assert poison.judge(again) == Ruling(suspects=((A, B),))
    assert poison.judge(again) == Ruling(convicted=(A, B))


def test_a_process_that_ends_between_tests() -> None:
    """Once is nobody's fault; twice before the same module is that module's, and only its own tests are given up."""
    poison = Poison()
    crash = Crash(kind=CrashKind.PROCESS, unstarted=(A, X, B))
    assert poison.judge(crash) == Ruling(requeue=(A, X, B))
    other = Crash(kind=CrashKind.PROCESS, unstarted=(X, A))
    assert poison.judge(other) == Ruling(requeue=(X, A))
    assert poison.judge(crash) == Ruling(broken=(A, B), requeue=(X,))


def test_a_sandbox_that_dies_between_tests() -> None:
    """It says nothing of any test, however often."""
    poison = Poison()
    crash = Crash(kind=CrashKind.SANDBOX, unstarted=(A, X))
    for _ in range(5):
        assert poison.judge(crash) == Ruling(requeue=(A, X))


@BOTH
def test_a_suspect_that_had_not_begun_stays_one(kind: CrashKind) -> None:
    """A death before a suspect began convicts nobody and clears nobody."""
    crash = Crash(kind=kind, unstarted=(A,), on_trial=True)
    assert Poison().judge(crash) == Ruling(suspects=((A,),))


def test_suspects_whose_process_never_reaches_them() -> None:
    """For suspects too, a process that ends twice before their module is that module's fault: it has to end."""
    poison = Poison()
    crash = Crash(kind=CrashKind.PROCESS, unstarted=(A,), on_trial=True)
    assert poison.judge(crash) == Ruling(suspects=((A,),))
    assert poison.judge(crash) == Ruling(broken=(A,))


def test_importing_what_nobody_asked_for() -> None:
    """A crash in a module of which no test was asked for counts as one with nothing running."""
    poison = Poison()
    crash = Crash(kind=CrashKind.PROCESS, importing="conftest.py", unstarted=(A, X))
    assert poison.judge(crash) == Ruling(requeue=(A, X))
    assert poison.judge(crash) == Ruling(broken=(A,), requeue=(X,))


def test_a_crash_with_nothing_left() -> None:
    """A session that crashes when all its work is done blames nobody."""
    assert Poison().judge(Crash(kind=CrashKind.PROCESS)) == Ruling()
    assert Poison().judge(Crash(kind=CrashKind.SANDBOX, on_trial=True)) == Ruling()
