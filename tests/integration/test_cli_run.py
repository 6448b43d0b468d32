"""`offload run`, `collect` and `logs` over a small suite of pytest's, on real local processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main

SUITE = {
    "tests/test_good.py": """
        import os
        def test_one(): print("said one")
        def test_two(): assert os.environ.get("GIVEN", "") in ("", "by the command line")
    """,
    "tests/test_bad.py": """
        def test_fails(): print("before the end"); assert 1 == 2, "the reason"
        def test_fine(): pass
    """,
    "tests/slow/test_slow.py": """
        def test_slow(): pass
    """,
}
CONFIG = """
[offload]
max_parallel = 2
{offload}
[provider]
type = "local"
[framework]
type = "pytest"
command = {command}
paths = ["tests"]
{framework}
[groups.fast]
filters = "--ignore=tests/slow"
[groups.slow]
filters = "--ignore=tests/test_good.py --ignore=tests/test_bad.py"
retry_count = 1
{rest}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite above, in the current directory; CI and OFFLOAD_ variables of the outside do not count."""
    for name in [name for name in os.environ if name.startswith("OFFLOAD_") or name in ("CI", "NO_COLOR")]:
        monkeypatch.delenv(name)
    write(tmp_path, SUITE)
    configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write files, without the indentation that they have here."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        lines = [line.removeprefix("        ") for line in text.strip("\n").splitlines()]
        (directory / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def configure(directory: Path, offload: str = "", framework: str = "", rest: str = "") -> None:
    """Write the configuration, with these lines in it."""
    command = json.dumps(f"{sys.executable} -m pytest -p no:cacheprovider")
    text = CONFIG.format(command=command, offload=offload, framework=framework, rest=rest)
    (directory / "offload.toml").write_text(text, encoding="utf-8")


def summary(directory: Path) -> Any:
    """What the last run says of itself."""
    return json.loads((directory / "test-results/summary.json").read_text(encoding="utf-8"))


def journal(directory: Path) -> list[Any]:
    """The events of the last run."""
    lines = (directory / "test-results/events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_failing_test_gives_1_and_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The failure with its text on stdout, the journal first event complete, the last one with the exit code."""
    assert main(["run", "--ci"]) == 1
    out = capsys.readouterr().out
    assert "tests/test_bad.py::test_fails" in out
    assert "the reason" in out
    assert "before the end" in out
    counts = summary(project)["counts"]
    assert (counts["passed"], counts["failed"]) == (4, 1)
    first, *_, last = journal(project)
    assert (first["event"], last["event"], last["exit_code"]) == ("RunStarted", "RunFinished", 1)
    assert (first["provider"], first["framework"], first["max_parallel"]) == ("local", "pytest", 2)
    assert first["groups"] == ["fast", "slow"]
    assert len(first["config_hash"]) == 16
    assert first["hash_seed"] > 0


def test_last_failed_runs_just_that(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Then nothing, when it has passed; and it is an error where there was no run at all."""
    assert main(["run", "--ci", "--last-failed"]) == 4
    assert "tells of no run" in capsys.readouterr().err
    assert main(["run", "--ci"]) == 1
    write(project, {"tests/test_bad.py": "def test_fails(): pass\ndef test_fine(): pass"})
    assert main(["run", "--ci", "--last-failed"]) == 0
    assert summary(project)["total"] == 1
    assert main(["run", "--ci", "--last-failed"]) == 0
    assert "left nothing to run again" in capsys.readouterr().out


def test_ids_and_paths_narrow_the_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file and an id; one that matches nothing is named, and the run is no success."""
    assert main(["run", "--ci", "tests/test_good.py::test_one", "tests/slow"]) == 0
    assert summary(project)["total"] == 2
    capsys.readouterr()
    assert main(["run", "--ci", "tests/test_good.py", "tests/test_god.py"]) == 4
    assert "no test matches 'tests/test_god.py'" in capsys.readouterr().err
    assert summary(project)["counts"]["passed"] == 2


def test_options_change_configuration_and_environment(project: Path) -> None:
    """`--parallel` is the strongest layer, `--env` reaches the tests."""
    write(project, {"tests/test_good.py": "import os\ndef test_env(): assert os.environ['GIVEN'] == 'a=b'"})
    assert main(["run", "--ci", "--parallel", "1", "--env", "GIVEN=a=b", "tests/test_good.py"]) == 0
    assert journal(project)[0]["max_parallel"] == 1


def test_options_without_effect_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Not for this provider, not of the right form."""
    arguments = [
        "--no-cache",
        "--copy-dir",
        "tests:/x",
        "--env",
        "BAD",
        "--env",
        "=x",
    ]
    assert main(["run", "--ci", "tests/slow", *arguments]) == 0
    err = capsys.readouterr().err
    assert "--no-cache has no effect: the provider 'local' makes no images" in err
    assert "--copy-dir has no effect" in err
    assert "--env 'BAD' is not of the form NAME=VALUE" in err
    assert "--env '=x' is not of the form" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--override-image-id", "im-1"], "only for providers that run images"),
        (["--record-history"], "needs a [history] table"),
        (["--copy-dir", "nocolon"], "not of the form LOCAL:REMOTE"),
        (["--copy-dir", "nowhere:/x"], "there is no "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    project: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 and no results of a run that was not."""
    assert main(["run", "--ci", *arguments]) == 4
    assert words in capsys.readouterr().err
    assert not (project / "test-results").exists()


def test_no_tests_gives_5(project: Path) -> None:
    """Unless `--no-tests pass` says that this is fine."""
    for path in (project / "tests").rglob("test_*.py"):
        path.write_text("", encoding="utf-8")
    assert main(["run", "--ci"]) == 5
    assert main(["run", "--ci", "--no-tests", "pass"]) == 0


def test_flaky_gives_2(project: Path) -> None:
    """`--flaky-result` makes it 0 or 1."""
    flaky = "from pathlib import Path\ndef test_f():\n    p = Path('n'); n = p.exists(); p.touch(); assert n"
    write(project, {"tests/slow/test_slow.py": flaky})
    for arguments, code in (([], 2), (["--flaky-result", "pass"], 0), (["--flaky-result", "fail"], 1)):
        (project / "n").unlink(missing_ok=True)
        assert main(["run", "--ci", "tests/slow", *arguments]) == code
        assert summary(project)["counts"]["flaky"] == 1


def test_secrets_do_not_get_into_reports(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither those of `--env`, nor of the host, nor on the recorded command line."""
    test = "import os\ndef test_s(): print(os.environ['MY_TOKEN']); assert os.environ['MY_TOKEN'] == 'x'"
    write(project, {"tests/test_bad.py": test})
    assert main(["run", "--ci", "--env", "MY_TOKEN=do-not-show-this"]) == 1
    captured = capsys.readouterr()
    written = [path.read_text(encoding="utf-8") for path in (project / "test-results").rglob("*") if path.is_file()]
    assert all("do-not-show-this" not in text for text in (*written, captured.out, captured.err))
    assert "***" in captured.out


def test_the_output_directory_is_for_one_run_at_a_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And one that cannot be written is an error before anything runs."""
    (project / "test-results").write_text("a file", encoding="utf-8")
    assert main(["run", "--ci"]) == 4
    assert "test-results" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_run_with_reports(project: Path, number: signal.Signals, code: int) -> None:
    """What had finished is kept, the rest was not run, nothing is left running."""
    hang = (
        "import subprocess, time\nfrom pathlib import Path\n"
        "def test_a(): pass\n"
        "def test_hangs():\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    Path('pid.tmp').write_text(str(child.pid)); Path('pid.tmp').rename('pid')\n"
        "    time.sleep(600)\n"
    )
    write(project, {"tests/test_good.py": hang})
    arguments = [sys.executable, "-m", "offload_core", "run", "--ci", "tests/test_good.py"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        bound = time.monotonic() + 60
        while not (project / "pid").exists() and run.poll() is None and time.monotonic() < bound:
            time.sleep(0.05)
        run.send_signal(number)
        assert run.wait(timeout=60) == code
    child = int((project / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    told = summary(project)
    assert (told["exit_code"], told["counts"]["passed"], told["counts"]["not_run"]) == (code, 1, 1)
    assert (project / "test-results/junit.xml").exists()
    assert journal(project)[-1]["event"] == "RunFinished"


def test_collect_lists_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    """As text, as JSON, and as `run --collect-only`, whose heading goes to stderr."""
    listing = (
        "\nGroup 'fast':\n  tests/test_bad.py::test_fails\n  tests/test_bad.py::test_fine\n"
        "  tests/test_good.py::test_one\n  tests/test_good.py::test_two\n"
        "\nGroup 'slow':\n  tests/slow/test_slow.py::test_slow\n"
    )
    assert main(["collect"]) == 0
    assert capsys.readouterr().out == "Discovered 5 tests across 2 groups:\n" + listing
    assert main(["run", "--collect-only"]) == 0
    captured = capsys.readouterr()
    assert captured.out == listing
    assert captured.err == "Discovering tests... found 5 tests across 2 groups\n"
    assert main(["collect", "-f", "json"]) == 0
    tests = json.loads(capsys.readouterr().out)
    assert tests[4] == {
        "id": "tests/slow/test_slow.py::test_slow",
        "name": "test_slow",
        "file": "tests/slow/test_slow.py",
        "retry_count": 1,
        "group": "slow",
        "schedule_individual": False,
    }


def test_collect_in_a_sandbox(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`discover_in = "sandbox"` makes one for it, and terminates it."""
    temporary = project / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    configure(project, framework='discover_in = "sandbox"')
    assert main(["collect"]) == 0
    assert "Discovered 5 tests" in capsys.readouterr().out
    assert not list(temporary.glob("offload-*/*"))


def test_collect_says_what_cannot_be_listed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that does not import is exit code 1; the rest is listed; no tests are exit code 5."""
    write(project, {"tests/test_bad.py": "import no_such_module"})
    assert main(["collect", "-f", "json"]) == 1
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 3
    assert "Error: tests/test_bad.py:" in captured.err
    assert "no_such_module" in captured.err
    for path in (project / "tests").rglob("test_*.py"):
        path.write_text("", encoding="utf-8")
    assert main(["collect"]) == 5


def test_a_framework_command_that_is_not_there_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By `collect` and by `run`, without a traceback."""
    text = (project / "offload.toml").read_text(encoding="utf-8").replace(sys.executable, "/no/such/python")
    (project / "offload.toml").write_text(text, encoding="utf-8")
    assert main(["collect"]) == 1
    captured = capsys.readouterr()
    assert "/no/such/python" in captured.err
    assert "Traceback" not in captured.err
    assert main(["run", "--ci"]) == 1
    captured = capsys.readouterr()
    assert "/no/such/python" in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_logs_tell_what_tests_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of the last run, or those chosen by state, id or expression."""
    assert main(["logs"]) == 1
    assert "No test results found at" in capsys.readouterr().err
    main(["run", "--ci"])
    capsys.readouterr()
    assert main(["logs"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("===")]
    assert heads == [
        "=== tests/slow/test_slow.py::test_slow [PASSED] ===",
        "=== tests/test_bad.py::test_fails [FAILED] ===",
        "=== tests/test_bad.py::test_fine [PASSED] ===",
        "=== tests/test_good.py::test_one [PASSED] ===",
        "=== tests/test_good.py::test_two [PASSED] ===",
    ]
    assert main(["logs", "--failures"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("=== tests/test_bad.py::test_fails [FAILED] ===\n")
    assert out.count("===") == 2
    assert "the reason" in out
    assert "before the end" in out
    for arguments in (["--test-regex", "one$"], ["--test", "tests/test_good.py::test_one"]):
        assert main(["logs", *arguments]) == 0
        assert capsys.readouterr().out.count("===") == 2
    assert main(["logs", "--errors"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No matching test results found in" in captured.err
    assert main(["logs", "--test-regex", "("]) == 4
    assert "Invalid --test-regex pattern" in capsys.readouterr().err


def test_collect_ends_cleanly_on_sigterm(project: Path) -> None:
    """The sandbox that it listed tests in is gone, and so is what ran there."""
    configure(project, framework='discover_in = "sandbox"')
    hang = (
        "import os, time\nfrom pathlib import Path\n"
        "Path('pid.tmp').write_text(str(os.getpid())); Path('pid.tmp').rename('pid')\n"
        "time.sleep(600)\n"
    )
    write(project, {"tests/test_bad.py": hang})
    arguments = [sys.executable, "-m", "offload_core", "collect"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        bound = time.monotonic() + 60
        while not (project / "pid").exists() and run.poll() is None and time.monotonic() < bound:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == 143
    child = int((project / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
