"""The scheduling policy: what it hands out, to whom, in what order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from offload_core.abc import Test
from offload_core.scheduling import Bundle, Estimates, LongestFirst

WORKERS = ("a", "b", "c")


def make(key: str, module: str = "m", *, individual: bool = False) -> Test:
    """A test of a module."""
    return Test(key=key, id=key, group="g", path=module, affinity=module, individual=individual)


def keys(bundle: Bundle | None) -> list[str]:
    """The keys of a bundle's tests."""
    return [test.key for test in bundle.tests] if bundle else []


def take(policy: LongestFirst, worker: str = "a", *, fresh: bool = True, busy: bool = False) -> Bundle | None:
    """The next bundle for one of the workers."""
    return policy.take(worker, workers=len(WORKERS), fresh=fresh, busy=busy)


class Model:
    """What a scheduler may do, spelled out; it checks every bundle a policy hands out against it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        durations = {f"t{number}": self.random.lognormvariate(0, 1.5) for number in range(400)}
        known = {key: secs for key, secs in durations.items() if self.random.random() < 0.7}
        self.policy = LongestFirst(Estimates(known))
        self.serial = 0
        self.order: dict[str, int] = {}
        self.waiting: Counter[str] = Counter()
        self.avoid: dict[str, str] = {}
        self.suspects: list[tuple[tuple[str, ...], bool]] = []
        self.individual: set[str] = set()
        self.out: list[Test] = []

    def add(self) -> None:
        """New tests of one module arrive, and some that were taken come back."""
        module = f"module {self.random.randrange(6)}"
        alone = self.random.random() < 0.2
        new = []
        for _ in range(self.random.randrange(1, 9)):
            self.serial += 1
            new.append(make(f"t{self.serial}", module, individual=alone))
        if self.out and self.random.random() < 0.3:
            new.append(self.out.pop())
        for test in new:
            self.order[test.key] = len(self.order)
            self.waiting[test.key] += 1
            if test.individual:
                self.individual.add(test.key)
        self.policy.add(new)

    def retry(self) -> None:
        """A test that was handed out has failed."""
        if self.out:
            test = self.out.pop(self.random.randrange(len(self.out)))
            self.avoid[test.key] = self.random.choice(WORKERS)
            self.waiting[test.key] += 1
            self.policy.retry(test, self.avoid[test.key])

    def suspect(self) -> None:
        """Tests that were handed out have crashed."""
        unit = [self.out.pop() for _ in range(min(len(self.out), self.random.randrange(1, 3)))]
        if unit:
            fresh = self.random.random() < 0.5
            self.suspects.append((tuple(test.key for test in unit), fresh))
            self.waiting.update(test.key for test in unit)
            self.policy.suspect(unit, fresh=fresh)

    def take(self, workers: int = len(WORKERS)) -> bool:
        """Somebody asks. Returns whether there was something."""
        worker = self.random.choice(WORKERS[:workers])
        fresh, busy = self.random.random() < 0.3, self.random.random() < 0.3
        bundle = self.policy.take(worker, workers=workers, fresh=fresh, busy=busy)
        if bundle is None:
            return False
        self.check(bundle, worker, workers, fresh=fresh, busy=busy)
        self.out += bundle.tests
        return True

    def check(self, bundle: Bundle, worker: str, workers: int, *, fresh: bool, busy: bool) -> None:
        """Whether that bundle may go there now."""
        taken = tuple(keys(bundle))
        assert taken, "a bundle holds something"
        for key in taken:
            assert self.waiting[key] == 1, "each is handed out exactly as often as it was queued"
            self.waiting[key] -= 1
        due = [unit for unit, needs_fresh in self.suspects if fresh or not needs_fresh]
        if due:
            assert not busy, "nothing goes to a busy worker while something must run alone"
            assert bundle.suspect, "suspects go first"
            assert bundle.alone
            assert taken == due[0]
            assert fresh or not bundle.fresh, "a fresh sandbox only for what needs it, and nothing else for that"
            self.suspects.remove((taken, bundle.fresh))
            return
        assert not bundle.suspect
        if taken[0] in self.avoid:
            assert len(taken) == 1
            assert self.avoid.pop(taken[0]) != worker or workers == 1, "a retry avoids where it failed"
            assert bundle.alone == bundle.tests[0].individual
        elif bundle.tests[0].individual:
            assert len(taken) == 1
            assert bundle.alone
            assert not busy
            self.individual.remove(taken[0])
        else:
            assert not bundle.alone
            assert not (busy and self.individual)
            assert len({test.affinity for test in bundle.tests}) == 1, "a bundle is of one module"
            places = [self.order[key] for key in taken]
            assert places == sorted(places), "the order within a module is kept"


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence(seed: int) -> None:
    """Whatever happens in whatever order: each test exactly once, suspects first, retries elsewhere, alone alone."""
    model = Model(seed)
    actions: list[Callable[[], object]] = [model.add, model.add, model.retry, model.suspect, *[model.take] * 6]
    for _ in range(600):
        model.random.choice(actions)()
        assert model.policy.waiting == model.waiting.total()
        assert model.policy.fresh_needed == sum(fresh for _, fresh in model.suspects)
    for _ in range(100_000):
        if not model.policy.waiting:
            break
        model.take(workers=1)
    assert model.waiting.total() == 0, "nothing is lost"


def test_longest_first() -> None:
    """Tests that are long for what waits go alone, longest first; the rest goes by module."""
    known = {"short": 1.0, "long": 50.0, "longest": 80.0, "middle": 20.0}
    policy = LongestFirst(Estimates(known))
    policy.add(make(key, f"module of {key}") for key in known)
    assert [keys(take(policy)) for _ in range(5)] == [["longest"], ["long"], ["middle"], ["short"], []]


def test_a_worker_stays_in_its_module() -> None:
    """A worker gets more of the module it is warm in; others get modules nobody has touched."""
    policy = LongestFirst(Estimates())
    policy.add([make(f"{module}{number}", module) for module in "xyz" for number in range(40)])
    first = {worker: policy.take(worker, workers=3, fresh=True, busy=False) for worker in WORKERS}
    modules = {worker: bundle.tests[0].path for worker, bundle in first.items() if bundle}
    assert len(set(modules.values())) == 3
    for worker in WORKERS:
        again = policy.take(worker, workers=3, fresh=True, busy=False)
        assert again is not None
        assert again.tests[0].path == modules[worker]


def test_bundles_shrink() -> None:
    """As the queue empties, bundles get smaller, down to one test."""
    policy = LongestFirst(Estimates())
    policy.add(make(f"t{number}") for number in range(200))
    sizes = []
    while bundle := take(policy):
        sizes.append(len(bundle.tests))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 20
    assert sizes[-1] == 1


def test_a_start_is_not_most_of_the_time() -> None:
    """Where a start costs a second, bundles have two tests; where tests turn out short, half of what is left,
    and at last, when more has been seen than is left, all of it."""
    slow, quick = (LongestFirst(Estimates(), start_secs=1.0) for _ in range(2))
    for policy in (slow, quick):
        policy.add(make(f"t{number}") for number in range(80))
    for _ in range(10):
        slow.observe(2.0)
        quick.observe(0.001)

    def sizes(policy: LongestFirst) -> list[int]:
        taken = iter(lambda: policy.take("a", workers=2, fresh=True, busy=False), None)
        return [len(bundle.tests) for bundle in taken if bundle]

    assert sizes(slow)[-3:] == [2, 2, 1]
    assert sizes(quick) == [40, 20, 10, 10]


def test_a_module_that_costs_an_import_is_split_only_if_its_tests_take_longer() -> None:
    """Modules of which nothing is known stay whole, also one after the other in a bundle; a long one is shared."""
    known = {f"long{number}": 1.0 for number in range(6)}
    policy = LongestFirst(Estimates(known), module_secs=2.0)
    policy.add([*(make(key, "long") for key in known), *(make(f"new{number}", "new") for number in range(9))])
    bundles = list(iter(lambda: keys(take(policy)), []))
    new = [f"new{number}" for number in range(9)]
    assert sorted(key for bundle in bundles for key in bundle) == sorted([*known, *new])
    assert [bundle for bundle in bundles if bundle[0].startswith("new")] == [new]
    assert sum(bundle[0].startswith("long") for bundle in bundles) > 1


def test_a_retry_waits_for_another_worker() -> None:
    """Where there is another worker, the one it failed on does not get it; alone, it does."""
    policy = LongestFirst(Estimates())
    policy.retry(make("flaky"), avoid="a")
    assert take(policy, "a") is None
    assert policy.waiting == 1
    assert keys(take(policy, "b")) == ["flaky"]
    policy.retry(make("flaky"), avoid="a")
    assert keys(policy.take("a", workers=1, fresh=False, busy=False)) == ["flaky"]


def test_fresh_only_to_fresh() -> None:
    """What needs a fresh sandbox is kept for one; others get other work meanwhile."""
    policy = LongestFirst(Estimates())
    policy.suspect([make("killer")], fresh=True)
    policy.add([make("other")])
    assert policy.fresh_needed == 1
    assert keys(take(policy, fresh=False)) == ["other"]
    assert take(policy, fresh=False) is None
    bundle = take(policy, fresh=True)
    assert bundle is not None
    assert (keys(bundle), bundle.alone, bundle.suspect, bundle.fresh) == (["killer"], True, True, True)
    assert policy.fresh_needed == 0


def test_clear_returns_everything() -> None:
    """`clear` returns what waits, of every kind, once; then nothing waits."""
    policy = LongestFirst(Estimates())
    policy.add([make("a"), make("b", "n"), make("c", individual=True)])
    policy.retry(make("d"), avoid="x")
    policy.suspect([make("e"), make("f")], fresh=True)
    assert sorted(test.key for test in policy.clear()) == list("abcdef")
    assert policy.waiting == policy.fresh_needed == 0
    assert take(policy) is None
    policy.add([make("g")])
    assert keys(take(policy)) == ["g"]


def durations_of(policy: LongestFirst, tests: Sequence[Test]) -> list[float]:
    """The policy's estimates."""
    return [round(policy.estimate(test), 3) for test in tests]


def test_estimates() -> None:
    """Known durations; else the mean of the group as far as it is known; else a second, or what is said; never zero."""
    policy = LongestFirst(Estimates({"a": 4.0, "b": 2.0, "zero": 0.0}))
    assert durations_of(policy, [make("x"), make("a"), make("b"), make("y"), make("zero")]) == [1, 4, 2, 3, 0]
    assert policy.estimate(make("zero")) > 0
    assert durations_of(LongestFirst(Estimates({}, 7.0)), [make("x")]) == [7]


def test_what_this_run_shows() -> None:
    """`expected` learns from this run where nothing was known; it decides who gets work ahead."""
    policy = LongestFirst(Estimates({"a": 0.1}))
    assert policy.expected(make("x")) == 1.0
    assert not policy.nearly_done([make("x")])
    for _ in range(10):
        policy.observe(0.01)
    assert policy.expected(make("x")) == pytest.approx(0.01)
    assert policy.expected(make("a")) == 0.1
    assert policy.nearly_done([make("x"), make("a")])
    assert not policy.nearly_done([make("a")] * 6)
