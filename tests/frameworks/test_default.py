"""The framework of the user's own commands, on shell scripts as tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, Ran

Example = Callable[[str], Project]

QUOTED = 'it\'s a "quoted" name & more.sh'
STATES = {
    **{f"adds-{number}.sh": "passed" for number in range(1, 9)},
    "fails.sh": "failed",
    "flaky.sh": "failed",
    "kills-its-runner.sh": "crashed",
    "skips.sh": "skipped",
    QUOTED: "passed",
}


@pytest.fixture
def scripts(example: Example) -> Project:
    """The example, whose flaky test keeps its mark outside the project."""
    project = example("default-example")
    project.environment["FLAKY_DIRECTORY"] = str(project.directory)
    return project


RUN = "sh run.sh {tests_file} {result_file}"


def configure(project: Project, *, run: str = RUN, more: str = "", **top: str) -> None:
    """A configuration of the shell scripts; `more` goes into `[framework]`."""
    (project.directory / "offload.toml").write_text(
        f"""
        [offload]
        max_parallel = 2
        {top.get("offload", "")}
        [provider]
        type = "local"
        {top.get("provider", "")}
        [framework]
        type = "default"
        discover_command = 'ls tests | grep -F -- .sh {{filters}}'
        run_command = {json.dumps(run)}
        test_id_format = "{{name}}"
        {more}
        {top.get("groups", "[groups.all]")}
        """,
        encoding="utf-8",
    )


def attempts(ran: Ran, id: str) -> list[str]:
    """How the attempts at a test ended, in order."""
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == id)
    return [attempt.outcome.value for attempt in record.attempts]


def test_the_example_with_a_report(scripts: Project) -> None:
    """Known outcomes, whatever the names; what kills the runner is found by halves, and nobody else is blamed."""
    ran = scripts.run()
    # It fails once in each run, which may be in the batch whose report is never written.
    assert ran.states in (STATES, STATES | {"flaky.sh": "passed"})
    assert ran.code == 1
    assert ran.message("fails.sh") == "exit code 1"
    assert ran.message("skips.sh") == "no such device here"
    assert "killed by SIGKILL: the run command wrote no results.xml" in ran.message("kills-its-runner.sh")
    for id, state in STATES.items():
        if state == "passed":
            assert set(attempts(ran, id)) <= {"lost", "passed"}


def test_the_example_by_exit_codes(scripts: Project) -> None:
    """Each test's exit code counts; code 77 is a failure like any other; what a test printed is kept."""
    ran = scripts.run("-c", "exit-codes.toml")
    assert ran.states == STATES | {"skips.sh": "failed"}
    assert ran.message("skips.sh") == "exit code 77"
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == "fails.sh")
    assert record.deciding is not None
    assert [section.text for section in record.deciding.output] == ["expected 4, got 5"]


def test_retries_filters_and_last_failed(scripts: Project) -> None:
    """A test that fails once is flaky; filters narrow a group; `--last-failed` runs what failed, and only that."""
    groups = """
        [groups.flaky]
        retry_count = 2
        filters = "-e flaky"
        [groups.fails]
        filters = "-e fails.sh -e adds-1.sh"
    """
    configure(scripts, groups=groups)
    (scripts.directory / "offload.toml").write_text(
        (scripts.directory / "offload.toml").read_text().replace("grep -F -- .sh {filters}", "grep -F {filters}")
    )
    ran = scripts.run()
    assert ran.states == {"flaky.sh": "flaky", "fails.sh": "failed", "adds-1.sh": "passed"}
    again = scripts.run("--last-failed")
    assert again.states == {"fails.sh": "failed"}
    one = scripts.run("adds-1.sh")
    assert one.states == {"adds-1.sh": "passed"}
    assert one.code == 0


def test_fail_fast(scripts: Project) -> None:
    """The first failure ends the run; what has not run says why."""
    scripts.write({"tests/a-fails.sh": "exit 1\n"})
    configure(scripts, run="cd tests && exec sh ./{tests}", groups="[groups.all]\n schedule_individual = true")
    asked = ("a-fails.sh", "adds-1.sh", "adds-2.sh")
    ran = scripts.run("-p", "1", "--fail-fast", *asked)
    assert ran.code == 1
    assert ran.counts == {"failed": 1, "not_run": 2}
    assert scripts.run("-p", "1", *asked).counts == {"failed": 1, "passed": 2}


def test_a_test_that_hangs_is_found_in_its_batch(scripts: Project) -> None:
    """It is killed with its children and `timed_out`; the others of its batch have passed."""
    for name in ("kills-its-runner.sh", "fails.sh", "flaky.sh"):
        (scripts.directory / "tests" / name).unlink()
    scripts.write({"tests/hangs.sh": "sleep 3600 &\nwait\n"})
    configure(scripts, offload="test_timeout_secs = 3")
    ran = scripts.run()
    assert set(ran.ids("timed_out")) == {"hangs.sh"}
    assert ran.counts == {"passed": 9, "skipped": 1, "timed_out": 1}


def test_a_fixed_result_file(scripts: Project) -> None:
    """`result_file` is where the command writes; each sandbox has its own copy, and no old report counts."""
    configure(
        scripts,
        run="sh run.sh {tests_file} out/report.xml",
        more='result_file = "out/report.xml"',
        provider='isolation = "copy"',
    )
    scripts.write({"out/report.xml": '<testsuite><testcase name="kills-its-runner.sh"/></testsuite>'})
    ran = scripts.run()
    assert ran.states == STATES


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("no-such-program {tests} {result_file}", "the run command cannot be run: exit code 127"),
        ("echo '<testsuite/>' >{result_file}; : {tests}", "the result file has no test case of this id"),
    ],
)
def test_a_command_that_cannot_work(scripts: Project, run: str, says: str) -> None:
    """Every test is an error that says what is wrong; none is called failed or crashed."""
    configure(scripts, run=run)
    ran = scripts.run()
    assert set(ran.states.values()) == {"error"}
    assert says in ran.message("fails.sh")


def test_a_report_with_other_names_says_which(scripts: Project) -> None:
    """A wrong `test_id_format` is told with the nearest names: nothing is matched by guessing."""
    configure(scripts)
    text = (scripts.directory / "offload.toml").read_text().replace('"{name}"', '"{classname}::{name}"')
    (scripts.directory / "offload.toml").write_text(text)
    ran = scripts.run("adds-1.sh", "adds-2.sh")
    assert set(ran.states.values()) == {"error"}
    assert "its nearest are '::adds-1.sh'" in ran.message("adds-1.sh")
    assert "test_id_format" in ran.message("adds-1.sh")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("discover_command", "ls tests", "must contain {filters}, which a group's filters replace: 'ls tests'"),
        ("run_command", "sh run.sh", "must contain {tests} or {tests_file}"),
        ("test_id_format", "{id}", "is made of {name} and {classname}"),
    ],
)
def test_wrong_options(scripts: Project, key: str, value: str, says: str) -> None:
    """A usage error that names the key, the file and the line."""
    path = scripts.directory / "offload.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    lines.insert(lines.index("[framework]") + 1, f"{key} = {json.dumps(value)}")
    path.write_text("\n".join(lines))
    ran = scripts.run(command="validate")
    assert ran.code == 4
    assert says in ran.err
    assert "offload.toml:" in ran.err


def test_a_discovery_that_fails_shows_its_output(scripts: Project) -> None:
    """The group is an error with the command and what it printed."""
    path = scripts.directory / "offload.toml"
    path.write_text(
        path.read_text().replace("ls tests | grep -F -- .sh {filters}", "echo oh no >&2; exit 3; {filters}")
    )
    ran = scripts.run()
    assert ran.code == 1
    assert ran.states == {"group all": "error"}
    assert "oh no" in ran.out
    assert "exit code 3" in ran.out


def test_init_writes_what_is_to_be_filled_in(project: Project) -> None:
    """`init -f default` names the three commands to fill in, with examples that validate."""
    (Path(project.directory) / "offload.toml").unlink()
    made = project.run("-f", "default", "-p", "local", command="init")
    assert made.code == 0
    assert "Fill in framework.discover_command" in made.out
    assert project.run(command="validate").code == 0


def test_a_missing_program_is_the_error_of_one_test(scripts: Project) -> None:
    """Exit code 127 can come from inside a test: the others of its batch run all the same."""
    for script in (scripts.directory / "tests").iterdir():
        if not script.name.startswith("adds"):
            script.unlink()
    scripts.write({"tests/a-misses.sh": "no-such-program\n"})
    configure(scripts, run="cd tests && exec sh ./{tests}")
    ran = scripts.run()
    assert ran.counts == {"passed": 8, "error": 1}
    assert "cannot be run: exit code 127" in ran.message("a-misses.sh")


COLORS = r"""
printf '<testsuite>' >"$2"
while IFS= read -r test; do
    printf '<testcase name="%s"><failure message="\033[31mred"/></testcase>' "$test" >>"$2"
done <"$1"
printf '</testsuite>' >>"$2"
"""
PARTS = r"""
while IFS= read -r test; do
    [ "$test" = adds-3.sh ] && kill -9 $$
    seen="$seen<testcase name='$test'/>"
    printf '<testsuite>%s</testsuite>' "$seen" >"$2"
done <"$1"
"""


def test_a_report_with_colors(scripts: Project) -> None:
    """What XML cannot carry is spelled out: the tests have failed, and nothing has crashed."""
    configure(scripts, run="sh colors.sh {tests_file} {result_file}")
    scripts.write({"colors.sh": COLORS})
    ran = scripts.run("adds-1.sh", "adds-2.sh")
    assert ran.counts == {"failed": 2}
    assert ran.message("adds-1.sh") == r"\x1b[31mred"


def test_a_command_that_is_killed_after_a_part_of_its_report(scripts: Project) -> None:
    """What it did not come to is run again, and the culprit is found: no test is called an error for it."""
    configure(scripts, run="sh parts.sh {tests_file} {result_file}")
    scripts.write({"parts.sh": PARTS})
    ran = scripts.run(*(f"adds-{number}.sh" for number in range(1, 9)))
    assert ran.counts == {"passed": 7, "crashed": 1}
    assert ran.ids("crashed") == {"adds-3.sh"}


def test_an_id_that_no_command_can_take(scripts: Project) -> None:
    """It is said when tests are listed; no sandbox is given up for it."""
    configure(scripts)
    path = scripts.directory / "offload.toml"
    listed = "find tests -type f -print0; : {filters}"
    path.write_text(path.read_text().replace("ls tests | grep -F -- .sh {filters}", listed))
    ran = scripts.run()
    assert ran.states == {"group all": "error"}
    assert "Is it one id per line" in ran.out
