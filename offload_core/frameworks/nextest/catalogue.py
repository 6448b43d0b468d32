"""Which tests there are, from `cargo nextest list`: its JSON, and what can be listed where not everything builds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ...abc import CollectionSkipped, Group, Test

_NAMES = ("binary-id", "package-name", "binary-name")


def suites(data: bytes) -> list[Mapping[str, Any]]:
    """The test binaries of a list.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = list(json.loads(data)["rust-suites"].values())
        for suite in found:
            "".join(suite[name] for name in _NAMES)
            [(case["ignored"], _selected(case)) for case in suite["testcases"].values()]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a list of nextest: {error!r}") from error
    return found


def tests(group: Group, suite: Mapping[str, Any], skips_ignored: bool) -> Iterator[Test | CollectionSkipped]:
    """Of a test binary, the tests that filters select; some as skipped ones, if those that are ignored are."""
    binary = suite["binary-id"]
    for name, case in suite["testcases"].items():
        id = f"{binary} {name}"
        if not _selected(case):
            continue
        if case["ignored"] and skips_ignored:
            yield CollectionSkipped(path=id, message="#[ignore]")
        else:
            affinity = f"{suite['package-name']}::{suite['binary-name']}"  # as events name it
            yield group.test(id, binary, affinity=affinity)


def _selected(case: Mapping[str, Any]) -> bool:
    return bool(case.get("filter-match", {}).get("status", "matches") == "matches")


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


def targets(metadata: bytes) -> dict[str, str]:
    """From `cargo metadata`: selectors that together make cargo build all test binaries, and the ids of those of each.

    Raises:
        ValueError: it is something else.
    """
    binaries: defaultdict[str, list[str]] = defaultdict(list)
    try:
        for package in json.loads(metadata)["packages"]:
            for target in package["targets"]:
                binary = _binary(package["name"], target["name"], target["kind"][0])
                if binary and target["test"]:
                    binaries[selector(binary)].append(binary)
    except (KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not metadata of cargo: {error!r}") from error
    return {each: ", ".join(ids) for each, ids in binaries.items()}


def _binary(package: str, target: str, kind: str) -> str:
    """The id of a test binary; empty for what is none."""
    if kind in ("bin", "example", "bench"):
        return f"{package}::{kind}/{target}"
    if kind == "test":
        return f"{package}::{target}"
    return "" if kind == "custom-build" else package
