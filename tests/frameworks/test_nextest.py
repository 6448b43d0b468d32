"""The nextest framework, on the crate of docs/examples/nextest-example, which is compiled once for these tests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, Ran

QUOTED = 'roman::cases it\'s a "quoted" name, with (brackets) \\ and [more], $HOME & `id` #2'
REGEX = "roman::cases wrong: = ~ /regex.*/ | test(all) - !x"
LIBRARY = (
    *("nothing_for_zero", "ones", "panics_as_it_should", "reads_what_it_writes", "rejects_what_it_would_not_write"),
    *("subtractive_pairs", "usage"),
)
PASSED = {f"roman tests::{name}" for name in LIBRARY} | {
    "roman::bin/roman tests::answers",
    "roman::cases fourteen",
    QUOTED,
    "roman::cases Ünïcode ✓ neunundvierzig",
    "roman::faults flaky_in_nextest",
    "roman::faults leaves_a_process_behind",
    "roman::faults slow",
}
STATES = {
    **dict.fromkeys(PASSED, "passed"),
    "roman::bin/roman tests::usage": "failed",
    REGEX: "failed",
    "roman::faults fails": "failed",
    "roman::faults returns_an_error": "failed",
    "roman::faults flaky": "flaky",
    "roman::faults ignored": "skipped",
    "roman::faults too_slow": "timed_out",
    "roman::faults aborts": "crashed",
    "roman::faults overflows_its_stack": "crashed",
}


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One `target` for every copy of the crate: cargo finds that nothing has changed."""
    return tmp_path_factory.mktemp("target")


@pytest.fixture
def crate(example: Callable[[str], Project], nextest: Path, target: Path) -> Project:
    """The example, whose compiled tests are there after the first test."""
    project = example("nextest-example")
    found = {
        "PATH": f"{nextest}{os.pathsep}{os.environ['PATH']}",
        "CARGO_TARGET_DIR": str(target),
        "RUST_BACKTRACE": "0",
    }
    project.environment.update(found)
    return project


def configure(project: Project, *, framework: str = "", provider: str = "", groups: str = "[groups.all]") -> None:
    """A configuration of the example with these lines in its tables."""
    text = f'[provider]\ntype = "local"\n{provider}\n[framework]\ntype = "nextest"\n{framework}\n{groups}\n'
    (project.directory / "offload.toml").write_text(f"[offload]\nmax_parallel = 2\n{text}", encoding="utf-8")


def attempts(ran: Ran, id: str) -> list[str]:
    """How the attempts at a test ended, in order."""
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == id)
    return [attempt.outcome.value for attempt in record.attempts]


def properties(ran: Ran, id: str) -> dict[str, str]:
    """What else is known of the last attempt at a test."""
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == id)
    assert record.deciding is not None
    return dict(record.deciding.properties)


def test_the_example(crate: Project) -> None:
    """Known outcomes, under any name. What dies is `crashed` without harm to others, and nextest's settings hold."""
    ran = crate.run()
    assert ran.states == STATES
    assert ran.code == 1
    assert not ran.incidents("session_crashed")
    assert attempts(ran, "roman::faults flaky") == ["failed", "passed"]
    assert attempts(ran, "roman::faults aborts") == ["crashed", "crashed"]
    assert attempts(ran, "roman::faults flaky_in_nextest") == ["passed"]
    assert properties(ran, "roman::faults flaky_in_nextest") == {"nextest.attempts": "2"}
    assert properties(ran, QUOTED) == {}
    assert ran.message("roman::faults aborts") == "its process died of SIGABRT"
    said = 'assertion `left == right` failed: nine left: Some("IX") right: Some("VIIII") (tests/faults.rs:27:5)'
    assert ran.message("roman::faults fails") == said
    assert ran.message("roman::faults returns_an_error") == 'Error: "the emperor is not at home"'
    assert "slow-timeout" in ran.message("roman::faults too_slow")
    assert "what the test printed" in ran.out
    assert "has overflowed its stack" in ran.out


def test_ids_last_failed_and_fail_fast(crate: Project) -> None:
    """Ids, binaries and modules can be asked for; what had no good result runs again; a failure can end a run."""
    some = crate.run("roman tests", "roman::cases", "roman::faults fails")
    asked = {id for id in STATES if id.startswith(("roman tests", "roman::cases"))} | {"roman::faults fails"}
    assert some.states == {id: STATES[id] for id in asked}
    assert crate.run("--last-failed").states == {REGEX: "failed", "roman::faults fails": "failed"}
    (crate.directory / ".config/nextest.toml").unlink()
    ran = crate.run("--fail-fast", "roman::faults fails", "roman::faults too_slow")
    assert ran.states == {"roman::faults fails": "failed", "roman::faults too_slow": "not_run"}
    assert ran.code == 1


def test_options_groups_and_another_directory(crate: Project) -> None:
    """Features, ignored tests, filters and environment hold in sandboxes, whose directory is another one."""
    framework = 'features = ["barred"]\ninclude_ignored = true\nenv = { NEXTEST_RETRIES = "1" }'
    groups = """
        [groups.one]
        filters = "-E 'test(barred) | test(=ignored) | test(=flaky)'"
        [groups.two]
        filters = "-E 'test(=tests::barred_letters)'"
        schedule_individual = true
    """
    configure(crate, framework=framework, provider='isolation = "copy"', groups=groups)
    ran = crate.run()
    assert ran.code == 0, ran.out
    assert ran.counts == {"passed": 4}
    assert [record.test.id for record in ran.accounting.records.values()].count("roman tests::barred_letters") == 2
    assert properties(ran, "roman::faults flaky") == {"nextest.attempts": "2"}


def test_what_takes_nextest_along_or_hangs(crate: Project) -> None:
    """A test that kills its runner is convicted, one that hangs is `timed_out` with its children; the others pass."""
    crate.write(
        {
            "tests/killer.rs": """
                use std::os::unix::process::parent_id;
                use std::process::Command;
                #[test]
                fn takes_its_runner_along() {
                    Command::new("kill").arg("-9").arg(parent_id().to_string()).status().unwrap();
                    std::thread::sleep(std::time::Duration::from_secs(60));
                }
                #[test]
                fn kills_itself() {
                    Command::new("kill").arg("-9").arg(std::process::id().to_string()).status().unwrap();
                }
                #[test]
                fn hangs() {
                    Command::new("sleep").arg("3600").spawn().unwrap().wait().unwrap();
                }
            """,
        }
    )
    configure(crate, groups="[groups.all]\nfilters = \"-E 'binary(killer) | binary(cases) | test(tests::)'\"")
    path = crate.directory / "offload.toml"
    path.write_text(path.read_text().replace("[offload]", "[offload]\ntest_timeout_secs = 15"))
    ran = crate.run()
    expected = {id: state for id, state in STATES.items() if "faults" not in id}
    killed = {"takes_its_runner_along": "crashed", "kills_itself": "crashed", "hangs": "timed_out"}
    assert ran.states == expected | {f"roman::killer {name}": state for name, state in killed.items()}
    assert ran.message("roman::killer kills_itself") == "its process died of SIGKILL"


def test_what_ends_nextest_from_outside_is_held_against_no_test(crate: Project) -> None:
    """Told to end, nextest ends its tests, too, and says that they failed: they run again, and only that counts."""
    crate.write(
        {
            "tests/outside.rs": """
                use std::{env, fs, process::Command, thread::sleep, time::Duration};
                #[test]
                fn is_there_when_nextest_is_ended() {
                    let run = env::var("OFFLOAD_RUN_ID").unwrap();
                    let mark = format!("{}/outside-{run}", env!("CARGO_TARGET_TMPDIR"));
                    if fs::metadata(&mark).is_err() {
                        fs::write(mark, "").unwrap();
                        let nextest = std::os::unix::process::parent_id().to_string();
                        Command::new("kill").arg(nextest).status().unwrap();
                        sleep(Duration::from_secs(600));
                    }
                }
                #[test]
                fn runs_beside_it() {
                    sleep(Duration::from_secs(1));
                }
            """,
        }
    )
    ran = crate.run("-p", "1", "roman::outside")
    assert set(ran.states.values()) <= {"passed", "flaky"}
    assert len(ran.incidents("session_crashed")) == 1


def test_a_binary_that_does_not_build(crate: Project) -> None:
    """On the host, it is an error of its own; in sandboxes, of its tests. The other binaries' tests run."""
    crate.write({"tests/broken.rs": "#[test]\nfn never() { no_such_function(); }\n"})
    configure(crate, provider='isolation = "copy"\ncopy_exclude = ["tests/faults.rs"]')
    ran = crate.run()
    elsewhere = {id: state for id, state in STATES.items() if not id.startswith("roman::faults")}
    assert {id: state for id, state in ran.states.items() if id in elsewhere} == elsewhere
    assert ran.states["roman::broken"] == "error"
    assert "cannot find function `no_such_function`" in ran.out
    left = {id: state for id, state in ran.states.items() if id not in elsewhere and id != "roman::broken"}
    assert set(left.values()) == {"error", "skipped"}
    assert "nextest does not know its binary there" in ran.message("roman::faults slow")


def test_a_tool_that_does_not_start(crate: Project) -> None:
    """A wrong command fails the listing, a wrong option for sandboxes the infrastructure: no test is to blame."""
    configure(crate, framework='command = "cargo no-such-tool"')
    ran = crate.run()
    assert ran.states == {"group all": "error"}
    assert "https://nexte.st" in ran.out
    configure(crate, framework='run_args = "--no-such-option"')
    ran = crate.run("roman::cases fourteen")
    assert ran.states == {"roman::cases fourteen": "not_run"}
    assert ran.code == 3
    assert "--no-such-option" in ran.err + ran.out


def test_init_and_doctor(crate: Project) -> None:
    """`init -f` under either name writes what runs; `doctor` tells the version, and whether it is too old."""
    config = crate.directory / "offload.toml"
    for name in ("nextest", "cargo"):
        config.unlink()
        assert crate.run("-f", name, "-p", "local", command="init").code == 0
    assert crate.run("roman tests::ones").states == {"roman tests::ones": "passed"}
    shutil.rmtree(crate.directory / "test-results")
    ready = crate.run(command="doctor")
    assert ready.code == 0
    assert "cargo-nextest 0." in ready.out
    crate.write({"old": "#!/bin/sh\necho cargo-nextest 0.9.50\n"})
    configure(crate, framework=f"command = {json.dumps('sh old')}")
    old = crate.run(command="doctor")
    assert old.code == 3
    assert "cargo-nextest 0.9.50 is too old" in old.out
