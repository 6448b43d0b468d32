"""One history of two: what holds whatever the histories are, and what git needs of a driver."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from attrs import evolve

from offload_core.errors import ReportError
from offload_core.history import Entry, History, Sample, locked, merge_files, read_history, write_history
from offload_core.history.merging import with_base, without_base

SEEDS = range(10)
KEY = ("offload.toml", "t")


def more(entry: Entry, draw: random.Random, runs: int) -> Entry:
    """The entry after some further runs, with room for all samples."""
    ok, fail = list(entry.ok), list(entry.fail)
    for _ in range(runs):
        sample = Sample(f"{draw.randrange(10**6):06}", draw.randrange(10**12), round(draw.random(), 3))
        (fail if draw.random() < 0.3 else ok).append(sample)
    failures = entry.failures + len(fail) - len(entry.fail)
    newest = max([*ok, *fail], key=lambda sample: sample.at, default=Sample("", 0, 0.0))
    ok, fail = (sorted(samples, key=lambda sample: sample.at) for samples in (ok, fail))
    return Entry(entry.attempts + runs, failures, newest.run, ok, fail)


def sides(seed: int, runs: int = 5) -> tuple[Entry, Entry, Entry]:
    """A common past, and two that have gone on from there."""
    draw = random.Random(seed)
    base = more(Entry(), draw, draw.randrange(runs))
    return base, more(base, draw, draw.randrange(runs)), more(base, draw, draw.randrange(runs))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_counts_twice(seed: int) -> None:
    """While there is room every sample of either side stays, once; counters grow by what each has added."""
    base, ours, theirs = sides(seed)
    merged = with_base(base, ours, theirs)
    assert set(merged.ok) == {*ours.ok, *theirs.ok}
    assert set(merged.fail) == {*ours.fail, *theirs.fail}
    assert len(merged.ok) + len(merged.fail) == len({*merged.ok, *merged.fail}) == merged.attempts
    assert merged.failures == len(merged.fail)


@pytest.mark.parametrize("runs", [5, 60], ids=["with room", "overflowing"])
@pytest.mark.parametrize("seed", SEEDS)
def test_it_does_not_matter_which_side_is_which(seed: int, runs: int) -> None:
    """Also without a common past, and where samples have to go."""
    base, ours, theirs = sides(seed, runs)
    assert with_base(base, ours, theirs) == with_base(base, theirs, ours)
    assert without_base(ours, theirs) == without_base(theirs, ours)


@pytest.mark.parametrize("runs", [5, 60], ids=["with room", "overflowing"])
@pytest.mark.parametrize("seed", SEEDS)
def test_merging_again_changes_nothing(seed: int, runs: int) -> None:
    """The result with itself, without a common past; and while there is room, with a side that is in it already."""
    base, ours, theirs = sides(seed, runs)
    assert without_base(ours, ours) == ours
    merged = with_base(base, ours, theirs)
    assert without_base(merged, merged) == merged
    if runs == 5:
        assert with_base(theirs, merged, theirs) == merged


def test_reservoirs_stay_bounded() -> None:
    """At 20, or at what the longer side had where its configuration allows more."""
    one, other = (
        Entry(ok=[Sample(name, at, 1.0) for at in range(first, first + 20)]) for name, first in (("a", 0), ("b", 9))
    )
    assert len(without_base(one, other).ok) == 20
    long = Entry(ok=[Sample("a", at, 1.0) for at in range(50)])
    assert len(without_base(long, other).ok) == 50


def test_without_a_common_past_the_samples_tell_what_is_common() -> None:
    """Half of the shorter side's samples are the other's, too: half of its counters are not added."""
    common, own, their = ([Sample(name, at, 1.0) for at in range(4)] for name in "cot")
    ours = Entry(40, 0, "o", ok=[*common, *own])
    theirs = Entry(20, 10, "t", ok=common, fail=their)
    merged = without_base(ours, theirs)
    assert (merged.attempts, merged.failures) == (40 + 20 - 10, 10)


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_never_shrink(seed: int) -> None:
    """Whatever the past is said to be, neither side's attempts are forgotten, and failures are attempts."""
    draw = random.Random(seed)
    base, ours, theirs = (Entry(n := draw.randrange(100), draw.randrange(n + 1)) for _ in range(3))
    for merged in (with_base(base, ours, theirs), without_base(ours, theirs)):
        assert merged.attempts >= max(ours.attempts, theirs.attempts)
        assert merged.failures <= merged.attempts


def test_what_this_version_does_not_know_is_kept() -> None:
    """From either side; where both have it, ours."""
    ours, theirs = Entry(more={"a": 1}, beside={"x": 1}), Entry(more={"a": 2, "b": 2}, beside={"y": 2})
    merged = with_base(Entry(more={"c": 0}), ours, theirs)
    assert (merged.more, merged.beside) == ({"a": 1, "b": 2, "c": 0}, {"x": 1, "y": 2})


def test_the_last_run_is_the_newest_side_s() -> None:
    """By the time of its newest sample; ours, if that is the same."""
    old, new = Entry(last_run="old", ok=[Sample("old", 1, 1.0)]), Entry(last_run="new", fail=[Sample("new", 2, 1.0)])
    assert [without_base(*pair).last_run for pair in ((old, new), (new, old))] == ["new", "new"]
    assert without_base(old, evolve(old, last_run="other")).last_run == "old"


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Base, ours and theirs; each side has changed one test, and has one of its own."""
    base, ours, theirs = sides(1, 10)
    for name, tests in (
        ("base", {"t": base, "same": base}),
        ("ours", {"t": ours, "same": base, "our": ours}),
        ("theirs", {"t": theirs, "same": base, "their": theirs}),
    ):
        history = History(tmp_path / name)
        for test, entry in tests.items():
            history.put(("offload.toml", test), entry)
        write_history(history)
    return tmp_path / "base", tmp_path / "ours", tmp_path / "theirs"


def test_files_are_merged_into_ours(paths: tuple[Path, Path, Path]) -> None:
    """Every test of either side; what only one has changed is its."""
    before = [path.read_bytes() for path in paths]
    merge_files(*paths, pytest.fail)
    merged = read_history(paths[1])
    assert [test for _, test in merged.lines] == ["our", "same", "t", "their"]
    assert merged.entry(KEY) == with_base(*sides(1, 10))
    assert [paths[0].read_bytes(), paths[2].read_bytes()] == [before[0], before[2]]
    merge_files(paths[2], paths[1], paths[2], pytest.fail)
    assert read_history(paths[1]).lines == merged.lines


@pytest.mark.parametrize("base", ["empty", "missing", "garbage", "directory", "damaged"])
def test_a_past_that_cannot_be_read_is_none(paths: tuple[Path, Path, Path], base: str) -> None:
    """It is said, but for an empty file, which is what git gives where there is no common past."""
    path = paths[0]
    damaged = path.read_text("utf-8").replace('"n":', '"m":')
    path.unlink()
    match base:
        case "empty":
            path.touch()
        case "garbage":
            path.write_bytes(b"\xff\xfe\n{")
        case "directory":
            path.mkdir()
        case "damaged":
            path.write_text(damaged, "utf-8")
    said: list[str] = []
    merge_files(*paths, said.append)
    assert bool(said) == (base in ("garbage", "directory", "damaged"))
    assert read_history(paths[1]).entry(KEY) == without_base(*sides(1, 10)[1:])


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("damage", ["missing", "conflict", "truncated", "inside"])
def test_a_side_that_cannot_be_read_is_an_error(paths: tuple[Path, Path, Path], side: int, damage: str) -> None:
    """And ours is as it was: git calls that a conflict, and somebody looks at it."""
    text = paths[side].read_text("utf-8")
    match damage:
        case "missing":
            paths[side].unlink()
        case "conflict":
            paths[side].write_text(f"<<<<<<< HEAD\n{text}=======\n>>>>>>> other\n", "utf-8")
        case "truncated":
            paths[side].write_text(text[:-20], "utf-8")
        case "inside":
            paths[side].write_text(text.replace('"n":', '"m":'), "utf-8")
    before = paths[1].read_bytes() if paths[1].exists() else None
    with pytest.raises(ReportError):
        merge_files(*paths, lambda message: None)
    assert (paths[1].read_bytes() if paths[1].exists() else None) == before
    with locked(paths[1]):
        pass  # nobody holds it any more
