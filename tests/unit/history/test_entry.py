"""The lines of the history file, which another tool reads and writes, too."""

from __future__ import annotations

import json

import pytest

from offload_core.history.entry import Entry, Sample, decode, encode

OLD = (
    '{"k":["offload.toml","tests/test_a.py::test_b[ü]"],"v":{"n":47,"f":3,"last_run":"aKx7",'
    '"ok":[["aKx7",1712000000000,2.1],["Z9pQ",1711999000000,2.0]],"fail":[["Z9pQ",1711998000000,2.3]]}}'
)


def line(**values: object) -> str:
    """A line with some of its values replaced."""
    good = {"n": 1, "f": 0, "last_run": "aKx7", "ok": [], "fail": []}
    return json.dumps({"k": ["offload.toml", "t"], "v": {**good, **values}})


def test_what_the_older_tool_wrote_means_the_same_here() -> None:
    """Each field, and the order of samples; written back it is the same text."""
    key, entry = decode(OLD)
    assert key == ("offload.toml", "tests/test_a.py::test_b[ü]")
    assert (entry.attempts, entry.failures, entry.last_run) == (47, 3, "aKx7")
    assert entry.ok == [Sample("aKx7", 1712000000000, 2.1), Sample("Z9pQ", 1711999000000, 2.0)]
    assert entry.fail == [Sample("Z9pQ", 1711998000000, 2.3)]
    assert entry.newest == 1712000000000
    assert encode(key, entry) == OLD


def test_fields_of_a_newer_version_are_kept() -> None:
    """In `v` and beside it."""
    newer = line(tags=["x"])[:-1] + ', "w": {"a": 1}}'
    assert json.loads(encode(*decode(newer))) == json.loads(newer)


@pytest.mark.parametrize("test", ["plain", 'quo"te \\ back', "two\nlines", "ü 日本 \u2028", "lone \ud800 \udcff"])
def test_any_id_survives(test: str) -> None:
    """On one line that UTF-8 can carry."""
    entry = Entry(1, 1, "aKx7", fail=[Sample("aKx7", 5, 0.25)])
    written = encode(("offload.toml", test), entry)
    assert "\n" not in written
    assert decode(written.encode().decode()) == (("offload.toml", test), entry)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[1]", 'not an object with "k" and "v"'),
        ("[" * 100_000, "too deep"),
        ('{"k":["a","b"]}', 'not an object with "k" and "v"'),
        (line().replace('"t"', "7"), '"k" is not a pair'),
        (line().replace('"n"', '"m"'), '"n" is missing'),
        (line(n=-1), '"n" is not a number'),
        (line(f=True), '"f" is not a number'),
        (line(n="1"), '"n" is not a number'),
        (line(last_run=7), '"last_run" is not a name'),
        (line(ok=None), '"ok" is not a list'),
        (line(ok=[["aKx7", 1]]), '"ok" is not a list'),
        (line(ok=["abc"]), '"ok" is not a list'),
        (line(ok=[["aKx7", 1.5, 1]]), '"ok" is not a list'),
        (line(ok=[["aKx7", -1, 1]]), '"ok" is not a list'),
        (line(ok=[["aKx7", 10**30, 1]]), '"ok" is not a list'),
        (line(ok=[["aKx7", 1, "1"]]), '"ok" is not a list'),
        (line(fail=[["aKx7", 1, -0.1]]), '"fail" is not a list'),
        (line(fail=[["aKx7", 1, 1], ["aKx7", 1, float("nan")]]), '"fail" is not a list'),
        (line(fail=[["aKx7", 1, 1], ["aKx7", 1, 1e10]]), '"fail" is not a list'),
        (line(fail=[["aKx7", 1, float("inf")]]), '"fail" is not a list'),
        (line(fail=[["aKx7", 1, 10**400]]), '"fail" is not a list'),
    ],
)
def test_what_is_no_entry_says_why(text: str, why: str) -> None:
    """One kind of error, whatever is wrong."""
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        decode(text)
