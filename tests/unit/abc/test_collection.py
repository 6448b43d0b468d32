"""What a group's tests are called."""

from __future__ import annotations

from itertools import product

from offload_core.abc import Group


def test_keys_are_unique() -> None:
    """Each test of each group has a key of its own, whatever is in the names of groups and tests."""
    groups = ("a", "a:", "a:b", "a:0", "a::0", ":a", "1:2:")
    ids = ("x", "x:1::y", "0:x", "b:0:x", ":x")
    keys = [Group(name=group).test(id, "m", number=number).key for group, id, number in product(groups, ids, (0, 12))]
    assert len(set(keys)) == len(keys)


def test_a_test_has_what_its_group_says() -> None:
    """Retries and the like are the group's, the affinity is the path if nothing else is said."""
    test = Group(name="slow", retries=2, individual=True).test("x", "m.py", file="m.py", line=3)
    assert (test.group, test.retries, test.individual, test.affinity, test.line) == ("slow", 2, True, "m.py", 3)
