"""The framework go, on the example of the documentation, and on modules that many use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, Ran

Example = Callable[[str], Project]

pytestmark = pytest.mark.skipif(
    shutil.which("go") is None and os.environ.get("CI") != "true", reason="the go command is not installed"
)

CRASHED = {"Panics", "PanicsInGoroutine", "Exits", "ExitsQuietly", "LogFatal", "Deadlock", "Killed"}
PASSED = {
    "TestVersion",
    *(f"faults.Test{name}" for name in ("ParallelFirst", "ParallelSecond", "Neighbour")),
    *(f"shop.{name}" for name in ("TestTotal", "TestShared", "TestLabels", "TestÜnicode", "TestSlow", "FuzzLabel")),
    "shop.Example",
}
STATES = {
    **dict.fromkeys(PASSED, "passed"),
    **{f"faults.Test{name}": "crashed" for name in CRASHED},
    **dict.fromkeys(("faults.TestShared", "shop.TestWrong", "shop.ExampleTotal"), "failed"),
    **dict.fromkeys(("shop.TestSkipped", "shop.TestFlaky"), "skipped"),
    **dict.fromkeys(("broken.TestNeverBuilt", "ends.TestLeavesFileOpen"), "error"),
    **dict.fromkeys(("starts.TestNeedsDatabase", "starts.TestNeedsDatabaseToo"), "error"),
}


@pytest.fixture
def shop(example: Example) -> Project:
    """The example of the documentation."""
    project = example("go-example")
    shutil.rmtree(project.directory / "test-results", ignore_errors=True)  # somebody has tried it
    return project


def configure(project: Project, groups: str = "[groups.all]", *, framework: str = "", offload: str = "") -> None:
    """A configuration of two local sandboxes; `framework` goes into `[framework]`."""
    (project.directory / "offload.toml").write_text(
        f'[offload]\nmax_parallel = 2\n{offload}\n[provider]\ntype = "local"\n[framework]\ntype = "go"\n{framework}\n'
        f"{groups}\n",
        encoding="utf-8",
    )


def attempts(ran: Ran, id: str) -> list[str]:
    """How the attempts at a test ended, in order."""
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == id)
    return [attempt.outcome.value for attempt in record.attempts]


def told(ran: Ran, id: str) -> tuple[str, str]:
    """The details and the output of the attempt that decided."""
    (record,) = (each for each in ran.accounting.records.values() if each.test.id == id)
    assert record.deciding is not None
    return record.deciding.details, "".join(section.text for section in record.deciding.output)


def test_the_example(shop: Project) -> None:
    """Known outcomes, in sandboxes that are copies in another directory; what ends its process is blamed, alone."""
    ran = shop.run(env={"OFFLOAD_PROVIDER__ISOLATION": "copy"})
    assert ran.states == STATES
    assert ran.code == 1
    for id, state in STATES.items():
        if state != "crashed":
            assert attempts(ran, id)[-1] == state
            assert set(attempts(ran, id)) <= {"lost", state}
    assert ran.message("faults.TestShared") == "faults_test.go:13: not the one of package shop"
    assert ran.message("shop.ExampleTotal") == "its output is not the one in its comment"
    assert ran.message("shop.TestSkipped") == "no till here"
    assert "panic: assignment to entry in nil map" in ran.message("faults.TestPanics")
    assert "it had said last: going" in ran.message("faults.TestExits")
    assert "cannot go on" in ran.message("faults.TestLogFatal")
    assert "all goroutines are asleep" in ran.message("faults.TestDeadlock")
    assert "signal: killed" in ran.message("faults.TestKilled")
    assert "broken_test.go:6:2: undefined: undefined" in ran.message("broken.TestNeverBuilt")
    assert "panic: the database is not there" in ran.message("starts.TestNeedsDatabase")
    assert ran.message("ends.TestLeavesFileOpen") == "its package failed after its tests"
    assert "1 files are still open" in told(ran, "ends.TestLeavesFileOpen")[0]
    assert "faults.TestPanics" in told(ran, "faults.TestPanics")[0]
    assert told(ran, "shop.TestTotal") == ("", "    cart_test.go:12: adding up\n")


def test_the_list_is_that_of_go(shop: Project) -> None:
    """Tests, examples with output and fuzz targets, as `go test -list` has them; with the file where each is."""
    shutil.rmtree(shop.directory / "broken")  # go lists the tests of a package that it can build
    configure(shop)
    collected = json.loads(shop.run("-f", "json", command="collect").out)
    listed = subprocess.run(["go", "test", "-list", ".", "./..."], cwd=shop.directory, capture_output=True, text=True)
    names = [line for line in listed.stdout.splitlines() if re.fullmatch(r"(Test|Example|Fuzz)\w*", line)]
    assert sorted(each["id"].rpartition(".")[2] for each in collected) == sorted(names)
    (wrong,) = (each for each in collected if each["id"] == "shop.TestWrong")
    assert wrong["file"] == "shop/cart_test.go"


def test_a_test_that_hangs(shop: Project) -> None:
    """It is ended with its process, though go's own limit is far; its neighbours in the same process pass."""
    subprocess.run(["go", "test", "-run", "^$", "./faults"], cwd=shop.directory, check=True)  # the build counts, too
    ran = shop.run("-c", "hangs.toml")
    assert ran.states.pop("faults.TestHangs") == "timed_out"
    assert set(ran.states.values()) == {"passed"}
    assert len(ran.states) == 3


def test_retries_groups_and_what_is_asked_for(shop: Project) -> None:
    """A test that fails once is flaky; filters make groups, of which two can hold a test; ids and paths narrow."""
    groups = """
        [groups.flaky]
        retry_count = 2
        filters = "-run ^TestFlaky$ ./shop"
        [groups.first]
        filters = "-run 'Total|Wrong' -skip Example ./..."
        schedule_individual = true
        [groups.second]
        filters = "-run TestTotal ./shop"
    """
    configure(shop, groups)
    shop.environment["FLAKY_DIRECTORY"] = str(shop.directory)
    ran = shop.run()
    assert ran.counts == {"passed": 2, "flaky": 1, "failed": 1}
    assert ran.states == {"shop.TestFlaky": "flaky", "shop.TestTotal": "passed", "shop.TestWrong": "failed"}
    again = shop.run("--last-failed")
    assert again.states == {"shop.TestWrong": "failed"}
    configure(shop)
    assert shop.run("./shop.TestTotal", "TestVersion").counts == {"passed": 2}
    ran = shop.run("./shop/...")
    assert set(ran.states) == {id for id in STATES if id.startswith("shop.")}
    assert "warning" not in ran.err


def test_fail_fast(shop: Project) -> None:
    """After the first failure nothing is started any more."""
    configure(shop, '[groups.all]\nfilters = "./shop ./faults"')
    ran = shop.run("--fail-fast")
    assert ran.code == 1
    assert "not_run" in ran.counts


def test_subtests_and_modules_that_do_not_load(project: Project) -> None:
    """A test tells which of its subtests failed, and how; a package that cannot be loaded is a result of its own."""
    project.write(
        {
            "go.work": "go 1.20\n\nuse (\n\t./one // the first\n\t./two\n)\n",
            "one/go.mod": "module example.com/one\n\ngo 1.20\n",
            "two/go.mod": "module example.com/two\n\ngo 1.20\n",
            "one/sub/a_test.go": """
                package sub

                import "testing"

                func TestA(t *testing.T) {
                    t.Run("good", func(t *testing.T) { t.Log("well") })
                    t.Run("bad one", func(t *testing.T) { t.Parallel(); t.Error("first\\nsecond line") })
                    t.Run("worse", func(t *testing.T) { t.Run("inner", func(t *testing.T) { t.Error() }) })
                }
            """,
            "two/a_test.go": 'package two\n\nimport _ "nowhere.example/x"\n',
            "two/b/b_test.go": 'package b\n\nimport "testing"\n\nfunc TestA(t *testing.T) { t.Fatalf("%d", 1) }\n',
        }
    )
    (project.directory / "offload.toml").unlink()
    (project.directory / "pytest.ini").unlink()
    made = project.run(command="init")
    assert made.code == 0, made.err
    assert 'packages = ["./one/...", "./two/..."]' in (project.directory / "offload.toml").read_text()
    ran = project.run()
    assert ran.states == {"one/sub.TestA": "failed", "two/b.TestA": "failed", "two": "error"}
    assert "nowhere.example/x" in told(ran, "two")[0]
    assert "(and 1 more)" in ran.message("one/sub.TestA")
    details, output = told(ran, "one/sub.TestA")
    assert "--- FAIL: TestA/bad_one (0.00s)\n    a_test.go:7: first\n        second line\n" in details
    assert "--- FAIL: TestA/worse/inner" in details
    assert output == "--- PASS: TestA/good (0.00s)\n    a_test.go:6: well\n"


def test_build_errors_of_older_versions(shop: Project) -> None:
    """Before Go 1.24 build errors were no events but text between them, and at first came without any event."""
    printed = (
        "# example.com/shop/broken [example.com/shop/broken.test]\n"
        "broken/broken_test.go:6:2: undefined: undefined\n"
        "FAIL\texample.com/shop/broken [build failed]\n"
    )
    (shop.directory / "printed").write_text(printed, encoding="utf-8")
    (shop.directory / "go1.20").write_text('case $1 in test) cat printed; exit 1;; esac\nexec go "$@"\n')
    for more in ('env = { GODEBUG = "gotestjsonbuildtext=1" }', 'command = "sh ./go1.20"'):
        configure(shop, framework=f'packages = ["./broken"]\n{more}')
        ran = shop.run()
        assert ran.states == {"broken.TestNeverBuilt": "error"}
        assert "does not build there: broken/broken_test.go:6:2: undefined" in ran.message("broken.TestNeverBuilt")


def test_a_go_that_is_not_there_or_too_old(shop: Project) -> None:
    """Said once, with what to do, and held against no test; `doctor` says it, too."""
    (shop.directory / "go").write_text("#!/bin/sh\necho go version go1.17.3 linux/amd64\n")
    for command, says in (("sh ./go", "go1.17.3 linux/amd64 is too old"), ("go", "go version go1.")):
        configure(shop, framework=f'command = "{command}"')
        assert says in shop.run(command="doctor").out
    configure(shop, framework='run_args = "-race -count=2"')
    assert "-count would run tests more than once" in shop.run(command="validate").err
    configure(shop, framework='command = "no-such-go"')
    ran = shop.run()
    assert ran.code == 1
    assert set(ran.states) == {"group all"}
    assert "no-such-go" in ran.message("group all")
    configure(shop, framework="command = 'sh ./only-lists'")
    (shop.directory / "only-lists").write_text('case $1 in test) echo no network >&2; exit 1;; esac\nexec go "$@"\n')
    ran = shop.run()
    assert ran.code == 3
    assert set(ran.states.values()) == {"not_run"}
    assert "no network" in ran.out + ran.err


@pytest.mark.nightly
@pytest.mark.parametrize("module", ["github.com/spf13/pflag@v1.0.10", "github.com/google/go-cmp@v0.7.0"])
def test_modules_that_many_use(project: Project, module: str) -> None:
    """Their own tests end as with `go test` alone, each of them."""
    found = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    if found.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"{module} cannot be had: {found.stdout}")
    assert found.returncode == 0, found.stdout
    shutil.copytree(json.loads(found.stdout)["Dir"], project.directory, dirs_exist_ok=True, copy_function=shutil.copy)
    for directory, _, _ in os.walk(project.directory):
        Path(directory).chmod(0o755)
    configure(project)
    plain = subprocess.run(
        ["go", "test", "-json", "-count=1", "./..."], cwd=project.directory, capture_output=True, text=True, check=False
    )
    root = module.partition("@")[0]
    expected = {}
    for event in map(json.loads, plain.stdout.splitlines()):
        if event["Action"] in ("pass", "fail", "skip") and "/" not in event.get("Test", "/"):
            id = f"{event['Package']}.{event['Test']}".removeprefix(root).lstrip("/.")
            expected[id] = {"pass": "passed", "fail": "failed", "skip": "skipped"}[event["Action"]]
    ran = project.run()
    assert ran.states == expected
    assert len(expected) >= 20
