"""Offload runs Vitest's tests: the outcomes of every kind of test, in whatever way they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.project import Project, Ran, a_project
from tests.frameworks.vitest_install import example, packages

PASSED = """\
test/crash.test.ts > comes after
test/crash.test.ts > comes before
test/crash.test.ts > comes last
test/flaky.test.ts > passes on Vitest's own retry
test/hooks.test.ts > whose hooks must not run for nothing > has a hook
test/money.test.ts > add > adds what has the same currency
test/money.test.ts > add > refuses what has not
test/money.test.ts > split > 1 in 2 parts
test/money.test.ts > split > 10 in 2 parts
test/money.test.ts > split > 10 in 3 parts
test/names.test.ts > a > b c
test/names.test.ts > a b > c
test/names.test.ts > is written with two digits
test/names.test.ts > odd "names" > \

test/names.test.ts > odd "names" > a > b
test/names.test.ts > odd "names" > has (brackets) [of] {every} <kind> and $HOME and \\ and | and * and ^.?+
test/names.test.ts > odd "names" > has spaces  and 'quotes' and `ticks`
test/names.test.ts > odd "names" > is written in Ελληνικά, 日本語 and 🙂
test/slow.test.ts > takes a while""".split("\n")
EXPECTED = {
    **dict.fromkeys(PASSED, "passed"),
    'test/names.test.ts > odd "names" > goes over\ntwo lines and has a\ttab': "passed",
    'test/names.test.ts > odd "names" > is called like another one': "failed",
    "test/crash.test.ts > ends its process": "failed",
    "test/crash.test.ts > kills its process": "crashed",
    "test/empty.test.ts": "error",
    "test/flaky.test.ts > fails once": "flaky",
    "test/hooks.test.ts > with a broken afterAll > runs": "error",
    "test/hooks.test.ts > with a broken beforeAll > cannot run": "error",
    "test/import.test.ts": "error",
    "test/money.test.ts > is written with two digits": "failed",
    "test/money.test.ts > knows cents": "xfailed",
    "test/money.test.ts > knows exchange rates": "skipped",
    "test/money.test.ts > knows how to round": "skipped",
    "test/slow.test.ts > gives up by itself": "failed",
    "test/slow.test.ts > hangs": "skipped",
    "test/snapshot.test.ts > has no snapshot yet": "failed",
    "test/unhandled.test.ts > leaves an error behind": "error",
}
CONFIG = """\
[offload]
max_parallel = 2
{offload}
[provider]
type = "local"
{provider}
[framework]
type = "vitest"
command = "node_modules/.bin/vitest"
{framework}
{groups}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project; nothing of it is left behind."""
    with a_project(tmp_path) as made:
        (made.directory / "pytest.ini").unlink()
        yield made


def configure(project: Project, *, groups: str = "[groups.all]", **lines: str) -> None:
    """Write the configuration; `lines` go into the tables that they name."""
    parts = {name: lines.get(name, "") for name in ("offload", "provider", "framework")}
    (project.directory / "offload.toml").write_text(CONFIG.format(groups=groups, **parts), encoding="utf-8")


def numbered(ran: Ran) -> dict[str, list[str]]:
    """The states of the tests by id, in the order of their file for those that share one."""
    found: dict[str, list[str]] = {}
    for key in sorted(ran.accounting.records):
        record = ran.accounting.records[key]
        found.setdefault(record.test.id, []).append(record.state.value)
    return found


@pytest.mark.parametrize("version", [None, "3.2.4", "2.1.9"])
def test_every_test_of_the_example_has_its_outcome(project: Project, tmp_path: Path, version: str | None) -> None:
    """Each kind of test ends as it should, in sandboxes with another root, and only the culprit is a crash."""
    example(project.directory, version)
    state = f"env = {{ EXAMPLE_STATE = {json.dumps(str(tmp_path))} }}"
    groups = "[groups.all]\nretry_count = 1"
    configure(project, provider='isolation = "copy"', framework=state, groups=groups)
    before = {path for path in project.directory.rglob("*") if "node_modules" not in path.parts}
    ran = project.run()
    assert ran.code == 1
    assert ran.states == EXPECTED
    assert numbered(ran)['test/names.test.ts > odd "names" > is called like another one'] == ["passed", "failed"]
    assert "no database" in ran.message("test/hooks.test.ts > with a broken beforeAll > cannot run")
    assert "does not stop" in ran.message("test/hooks.test.ts > with a broken afterAll > runs")
    assert "nobody caught this" in ran.message("test/unhandled.test.ts > leaves an error behind")
    assert "retry 1" in ran.message("test/flaky.test.ts > passes on Vitest's own retry")
    assert "does-not-exist" in ran.err + ran.out
    assert "this is printed by a test" in (ran.results / "junit.xml").read_text(encoding="utf-8")
    suspects = {id for incident in ran.summary["incidents"] for id in incident["suspects"]}
    assert len(suspects) == 1, suspects
    written = {path for path in project.directory.rglob("*") if not {"node_modules", "test-results"} & {*path.parts}}
    assert written == before
