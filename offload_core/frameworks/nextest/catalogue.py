"""Which tests there are, from `cargo nextest list`: its JSON, and what can be listed where not everything builds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...abc import CollectionSkipped, Group, Test

_SELECTORS = {"lib": "--lib", "proc-macro": "--lib", "bin": "--bin", "test": "--test", "example": "--example"}


def suites(data: bytes) -> list[Mapping[str, Any]]:
    """The test binaries of a list.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = list(json.loads(data)["rust-suites"].values())
        for suite in found:
            {suite[name] + "" for name in ("binary-id", "package-name", "binary-name")}
            [case["ignored"] for case in suite["testcases"].values()]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a list of nextest: {error!r}") from error
    return found


def tests(group: Group, suite: Mapping[str, Any]) -> Iterator[Test | CollectionSkipped]:
    """What a test binary has: tests that are to be run, and those that are ignored, as skipped ones."""
    binary = suite["binary-id"]
    for name, case in suite["testcases"].items():
        match = case.get("filter-match", {})
        id = f"{binary} {name}"
        if match.get("status", "matches") == "matches":
            yield Test(
                key=f"{group.name}:{id}",
                id=id,
                group=group.name,
                path=binary,
                affinity=f"{suite['package-name']}::{suite['binary-name']}",  # as events name it
                retries=group.retries,
                individual=group.individual,
            )
        elif match.get("reason") == "ignored":
            yield CollectionSkipped(path=id, message="#[ignore]")


def test_name(test: Test) -> str:
    """A test's name in its binary."""
    return test.id[len(test.path) + 1 :]


def event_name(test: Test) -> str:
    """What events call it. A library and a program of one package can have one name, and tests of one name."""
    return f"{test.affinity}${test_name(test)}"


def selector(binary: str) -> str:
    """What makes cargo build a test binary, by its id, and as little else as possible."""
    kind, slash, name = binary.partition("::")[2].partition("/")
    if not kind:
        return "--lib"
    return f"--{kind}={name}" if slash else f"--test={kind}"


def selectors(metadata: bytes) -> list[str]:
    """From `cargo metadata`: a selector for each target that has tests; together they are what cargo would build.

    Raises:
        ValueError: it is something else.
    """
    try:
        targets = [target for package in json.loads(metadata)["packages"] for target in package["targets"]]
        found: dict[str, None] = {}
        for target in targets:
            kind = target["kind"][0]
            option = _SELECTORS.get("lib" if "lib" in kind else kind)
            if option and target["test"]:
                found[option if option == "--lib" else f"{option}={target['name']}"] = None
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not metadata of cargo: {error!r}") from error
    return list(found)
