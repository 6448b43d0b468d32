"""Offload runs Vitest's tests: the outcomes of every kind of test, in whatever way they are asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.project import Project, Ran
from tests.frameworks.vitest_install import INTERCEPTORS, VITEST, ZOD, Suite, alone, fill, packages, same_words
from tests.support.marks import nightly

PASSED = [
    "test/crash.test.ts > comes after",
    "test/crash.test.ts > comes before",
    "test/crash.test.ts > comes last",
    "test/flaky.test.ts > passes on Vitest's own retry",
    "test/hooks.test.ts > whose hooks must not run for nothing > has a hook",
    "test/money.test.ts > add > adds what has the same currency",
    "test/money.test.ts > add > refuses what has not",
    "test/money.test.ts > split > 1 in 2 parts",
    "test/money.test.ts > split > 10 in 2 parts",
    "test/money.test.ts > split > 10 in 3 parts",
    "test/names.test.ts > a > b c",
    "test/names.test.ts > a b > c",
    "test/names.test.ts > is written with two digits",
    'test/names.test.ts > odd "names" > ',
    'test/names.test.ts > odd "names" > a > b',
    'test/names.test.ts > odd "names" > has (brackets) [of] {every} <kind> and $HOME and \\ and | and * and ^.?+',
    "test/names.test.ts > odd \"names\" > has spaces  and 'quotes' and `ticks`",
    'test/names.test.ts > odd "names" > is written in Ελληνικά, 日本語 and 🙂',
    "test/slow.test.ts > takes a while",
]
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


@pytest.mark.parametrize("version", [None, nightly("3.2.4"), nightly("2.1.9")])
def test_every_test_of_the_example_has_its_outcome(project: Project, tmp_path: Path, version: str | None) -> None:
    """Each kind of test ends as it should, in sandboxes with another root, and only the culprit is a crash."""
    fill(project.directory, version)
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


def test_only_what_is_asked_for_runs(project: Project) -> None:
    """Ids and files choose tests exactly; a hook of a suite of which nothing is asked for does not run.

    `--last-failed` then runs what failed, and no more.
    """
    fill(project.directory)
    configure(project)
    same = "is written with two digits"
    asked = [
        f"test/names.test.ts > {same}",
        "test/names.test.ts > a b",
        'test/names.test.ts > odd "names" > is called like another one',
        "test/hooks.test.ts > with a broken afterAll > runs",
    ]
    ran = project.run(*asked, env={"EXAMPLE_ONLY": "1"})
    chosen = {id: state for id, state in ran.states.items() if " > " in id}
    assert chosen == {
        f"test/names.test.ts > {same}": "passed",
        "test/names.test.ts > a b > c": "passed",
        'test/names.test.ts > odd "names" > is called like another one': "failed",
        "test/hooks.test.ts > with a broken afterAll > runs": "error",
    }
    again = project.run("--last-failed")
    failed = {'test/names.test.ts > odd "names" > is called like another one', asked[3]}
    assert {id for id in again.states if " > " in id} == failed


def test_a_test_that_hangs_is_killed_and_the_rest_goes_on(project: Project) -> None:
    """It is `timed_out`, nothing of its processes is left, and the other tests of its file have their outcomes."""
    fill(project.directory)
    configure(project, offload="test_timeout_secs = 10")
    ran = project.run("test/slow.test.ts", env={"EXAMPLE_HANG": "1"})
    assert {id: state for id, state in ran.states.items() if " > " in id} == {
        "test/slow.test.ts > takes a while": "passed",
        "test/slow.test.ts > gives up by itself": "failed",
        "test/slow.test.ts > hangs": "timed_out",
    }


SEVERAL = {
    "package.json": '{"type": "module"}',
    "vitest.config.js": """
        import { defineConfig } from 'vitest/config';

        const files = ['tests/*.test.js'];
        export default defineConfig({
          test: {
            bail: 1,
            // No provider for it is installed: Vitest alone does not start with it.
            coverage: { enabled: true, provider: 'v8' },
            projects: [
              { test: { name: 'threads', include: files, pool: 'threads', sequence: { hooks: 'parallel' } } },
              { test: { name: 'forks', include: files, isolate: false, globalSetup: './global.js' } },
            ],
          },
        });
    """,
    "global.js": """
        import { appendFileSync } from 'node:fs';

        export default () => {
          appendFileSync(process.env.EXAMPLE_STATE, 'up\\n');
          return () => appendFileSync(process.env.EXAMPLE_STATE, 'down\\n');
        };
    """,
    "tests/one.test.js": """
        import { afterEach, expect, test, vi } from 'vitest';

        vi.mock('node:fs');
        vi.useFakeTimers();
        afterEach(() => expect(process.env.PART).toBe('yes'));
        test('first', () => {});
        test.each([['a'], ['b']])('each %s', (name) => expect(name).toBe('a'));
    """,
    "tests/two.test.js": """
        import { test } from 'vitest';

        test('before', () => {});
        test('ends everything', () => process.kill(process.pid, 'SIGKILL'));
        test('after', () => {});
    """,
}


def test_projects_groups_filters_and_pools(project: Project) -> None:
    """Tests of several projects are told apart; a test that takes Vitest itself with it is the only one blamed.

    The user's `bail`, coverage, filters, environment and global setup do what they should.
    """
    project.write(SEVERAL)
    (project.directory / "node_modules").symlink_to(packages({"vitest": VITEST}))
    state = project.temporary.parent / "state"
    groups = """
[groups.threads]
filters = "--project threads"

[groups.forks]
filters = "--project forks tests/one"

[groups.again]
filters = "--project=forks -t each"
schedule_individual = true
"""
    configure(project, framework=f'env = {{ PART = "yes", EXAMPLE_STATE = {json.dumps(str(state))} }}', groups=groups)
    ran = project.run()
    assert numbered(ran) == {
        "[forks] tests/one.test.js > each a": ["passed", "passed"],
        "[forks] tests/one.test.js > each b": ["failed", "failed"],
        "[forks] tests/one.test.js > first": ["passed"],
        "[threads] tests/one.test.js > each a": ["passed"],
        "[threads] tests/one.test.js > each b": ["failed"],
        "[threads] tests/one.test.js > first": ["passed"],
        "[threads] tests/two.test.js > after": ["passed"],
        "[threads] tests/two.test.js > before": ["passed"],
        "[threads] tests/two.test.js > ends everything": ["crashed"],
    }
    suspects = {id for incident in ran.summary["incidents"] for id in incident["suspects"]}
    assert suspects == {"[threads] tests/two.test.js > ends everything"}
    ups, downs = map(state.read_text(encoding="utf-8").split().count, ("up", "down"))
    assert 0 < downs <= ups


def test_a_name_that_is_not_the_same_in_the_sandbox(project: Project) -> None:
    """It is an error that names its nearest relatives; with `--fail-fast`, the run stops there."""
    project.write(
        {
            "package.json": '{"type": "module"}',
            "a.test.js": """
                import { test } from 'vitest';

                test(`is called ${process.env.OFFLOAD_SANDBOX}`, () => {});
            """,
        }
    )
    (project.directory / "node_modules").symlink_to(packages({"vitest": VITEST}))
    configure(project)
    ran = project.run("--fail-fast")
    assert (ran.code, ran.states) == (1, {"a.test.js > is called undefined": "error"})
    assert "there is no such test in the sandbox" in ran.out
    assert re.search(r"a\.test\.js > is called s\d-", ran.out)


def test_a_vitest_that_is_not_there(project: Project) -> None:
    """It is said once, with what to do: not as so many failed tests."""
    configure(project)
    doctor = project.run(command="doctor")
    assert doctor.code == 3
    assert "npm install -D vitest" in doctor.out
    ran = project.run()
    assert ran.code == 1
    assert "npm install -D vitest" in ran.out
    assert ran.summary["total"] == 1


def test_init_and_doctor(project: Project) -> None:
    """What `init` writes for the example is what `doctor` finds ready."""
    fill(project.directory)
    (project.directory / "offload.toml").unlink()
    assert project.run(command="init").code == 0
    assert 'type = "vitest"' in (project.directory / "offload.toml").read_text(encoding="utf-8")
    assert 'command = "node_modules/.bin/vitest"' in (project.directory / "offload.toml").read_text(encoding="utf-8")
    doctor = project.run(command="doctor")
    assert (doctor.code, f"vitest/{VITEST}" in doctor.out) == (0, True), doctor.out


def test_an_idle_sandbox_takes_over_what_a_long_file_has_not_begun(project: Project) -> None:
    """A file of tests that turn out to be long is shared, and each of its tests runs once.

    One of them waits for another process, and so could not pass if it were not.
    """
    project.write(
        {
            "package.json": '{"type": "module"}',
            "long.test.js": """
                import { readdirSync, writeFileSync } from 'node:fs';
                import { test } from 'vitest';

                const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
                const others = () => readdirSync('.').some((name) => /^pid/.test(name) && name !== `pid${process.pid}`);

                test('gives an idea of how long they are', () => sleep(900));
                test('waits for another process', { timeout: 60_000 }, async () => {
                  while (!others()) await sleep(20);
                });
                test.each([1, 2, 3, 4, 5, 6])('writes %i', () => writeFileSync(`pid${process.pid}`, ''));
            """,
        }
    )
    (project.directory / "node_modules").symlink_to(packages({"vitest": VITEST}))
    configure(project, offload="hedge = false")
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 8})
    assert {record.deciding.sandbox for record in ran.accounting.records.values() if record.deciding} == {"s1", "s2"}
    assert all(len(record.attempts) == 1 for record in ran.accounting.records.values())


@pytest.mark.nightly
@pytest.mark.parametrize(("suite", "part"), [(ZOD, "src/v4/mini"), (INTERCEPTORS, "src")], ids=("zod", "interceptors"))
def test_the_tests_of_published_packages(project: Project, suite: Suite, part: str) -> None:
    """Each test of a real suite ends as it does with Vitest alone; so does each module that does not import."""
    suite.lay_out(project.directory)
    configure(project, groups=f'[groups.all]\nfilters = "{part}"')
    expected = alone(project.directory, part, env=project.environment)
    assert len(expected) > 100
    assert same_words(numbered(project.run())) == expected
