"""What is wrong before any test runs, or around the tests: a clear word and the right exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import PYTHON, Project

GOOD = "def test_a(): pass\n"


@pytest.fixture(autouse=True)
def suite(project: Project) -> None:
    """One good test."""
    project.write({"test_a.py": GOOD})


def test_no_configuration(project: Project) -> None:
    """It says what is missing and how to make one."""
    (project.directory / "offload.toml").unlink()
    ran = project.run()
    assert ran.code == 4
    assert "offload.toml" in ran.err
    assert "offload init" in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[offload\n", ["offload.toml:1:9"]),
        ("\n\nx = \n", ["offload.toml:3:5"]),
        (b"\xff\xfe", ["offload.toml", "UTF-8"]),
        ("", ["[provider]"]),
        ('[offload]\nmax_parallel = "many"\n', ["offload.max_parallel", "offload.toml:2"]),
        ("[offload]\nmax_parallel = 0\n", ["offload.max_parallel", "offload.toml:2"]),
        ("[offload]\ntest_timeout_secs = -1\n", ["offload.test_timeout_secs", "offload.toml:2"]),
        ("offload = 3\n", ["offload"]),
        ("[groups]\nall = 3\n", ["groups.all"]),
        ("[groups.all]\nretry_count = 1.5\n", ["groups.all.retry_count", "offload.toml:2"]),
        ('[groups.all]\nfilters = "-k \'unclosed"\n', ["groups.all.filters"]),
        ('[provider]\ntype = "nowhere"\n', ["nowhere", "local"]),
        ('[framework]\ntype = "nothing"\n', ["nothing", "pytest"]),
        ('[framework]\ntype = "pytest"\npaths = "tests"\n', ["framework.paths"]),
        ('[framework]\ntype = "pytest"\ncommand = ""\n', ["framework.command"]),
        ('[provider]\ntype = "local"\nisolation = "total"\n', ["provider.isolation", "copy"]),
        ('[provider]\ntype = "local"\n[provider.env]\nX = "${NO_SUCH_VARIABLE}"\n', ["NO_SUCH_VARIABLE"]),
        ('[report]\njunit_file = "../x.xml"\n', ["report.junit_file"]),
    ],
)
def test_a_configuration_that_is_wrong(project: Project, text: str | bytes, words: list[str]) -> None:
    """Exit code 4, with the key, the file and the line; and nothing is written."""
    needed = {
        "offload": "[offload]\n",
        "[provider]": '[provider]\ntype = "local"\n',
        "[framework]": '[framework]\ntype = "pytest"\n',
        "[groups": "[groups.all]\n",
    }
    if isinstance(text, str) and "=" in text.replace("= \n", ""):
        text += "".join(table for head, table in needed.items() if head not in text)
    path = project.directory / "offload.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ran = project.run()
    assert ran.code == 4
    for word in words:
        assert word in ran.err
    assert not ran.results.exists()


def test_unknown_keys_warn(project: Project) -> None:
    """With the nearest known name; the run goes on."""
    project.configure(offload="max_paralel = 3", rest="[nonsense]\nx = 1")
    ran = project.run()
    assert ran.code == 0
    assert "offload.max_paralel" in ran.err
    assert "max_parallel" in ran.err
    assert "nonsense" in ran.err


@pytest.mark.parametrize(
    "arguments", [["--no-such-option"], ["--parallel", "0"], ["--parallel", "x"], ["--color", "x"]]
)
def test_usage_errors(project: Project, arguments: list[str]) -> None:
    """Exit code 4, and the option is named."""
    ran = project.run(*arguments)
    assert ran.code == 4
    assert arguments[0] in ran.err
    assert not ran.results.exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such/python -m pytest", "/no/such/python"),
        ("no-such-program-anywhere", "no-such-program-anywhere"),
        ("/etc/passwd", "/etc/passwd"),
        ("false", "false"),
        ("true", "true"),
        (f"{sys.executable} -c 'import sys; print(chr(27)); sys.exit(9)'", "exit code 9"),
        (f"{PYTHON} -m no_such_module", "no_such_module"),
    ],
)
def test_a_framework_command_that_does_not_work(project: Project, command: str, words: str) -> None:
    """The group could not be listed: a result of its own, exit code 1, and what was tried."""
    project.configure(command=command)
    ran = project.run()
    assert ran.code == 1
    assert words in ran.out
    assert ran.summary["discovery_errors"].keys() == {"all"}
    assert "\x1b" not in ran.out


def test_pytest_is_not_installed(project: Project) -> None:
    """For the interpreter that is named: it says to install it there."""
    bare = project.directory / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    project.configure(command=f"{bare}/bin/python -m pytest")
    ran = project.run()
    assert ran.code == 1
    assert "No module named pytest" in ran.out
    assert "Install pytest" in ran.out


def test_pytest_that_is_missing_in_sandboxes_only(project: Project) -> None:
    """The sandbox's PATH leads to another interpreter: no test failed, exit code 3, and the reason."""
    bare = project.directory / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    project.configure(command="python -m pytest", provider=f'env = {{ PATH = "{bare}/bin:/usr/bin:/bin" }}')
    ran = project.run(env={"PATH": path, "VIRTUAL_ENV": str(Path(sys.executable).parents[1])})
    assert ran.code == 3
    assert ran.counts == {"not_run": 1}
    assert "No module named pytest" in ran.out


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ("--no-such-option", "--no-such-option"),
        ("-k 'not and'", "not and"),
        ("-m '('", "-m"),
        ("no_such_file.py", "no_such_file.py"),
        ("--rootdir=/no/such/directory", "/no/such/directory"),
    ],
)
def test_a_filter_that_pytest_rejects(project: Project, filters: str, words: str) -> None:
    """The group is a result of its own; the other group runs."""
    project.configure(groups=f'[groups.bad]\nfilters = "{filters}"\n[groups.good]\n')
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 1, "error": 1}
    assert words in ran.out
    assert ran.summary["discovery_errors"].keys() == {"bad"}


@pytest.mark.parametrize("where", ["a-file", "a-file/below", "/proc/offload", "/dev/null"])
def test_an_output_directory_that_cannot_be(project: Project, where: str) -> None:
    """Exit code 4 before anything runs, and the key to change."""
    project.write({"a-file": ""})
    project.configure(rest=f'[report]\noutput_dir = "{where}"')
    ran = project.run()
    assert ran.code == 4
    assert where in ran.err
    assert "output_dir" in ran.err


def test_a_report_that_cannot_be_written(project: Project) -> None:
    """A directory stands where the JUnit report has to go: the tests count, exit code 3, and it is said."""
    (project.directory / "test-results/junit.xml").mkdir(parents=True)
    running = project.start()
    assert running.process.wait() == 3
    err, out = running.err.read_text(encoding="utf-8"), running.out.read_text(encoding="utf-8")
    assert "junit.xml could not be written" in err
    assert "Traceback" not in err
    assert "not every report could be written" in out


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    """A file system of 256 KiB as the output directory."""
    path = project.directory / "test-results"
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk(project: Project, small_disk: Path) -> None:
    """The journal and the reports do not fit: the tests run to the end, the failure is shown, exit code 1."""
    project.write({"test_a.py": GOOD + "def test_bad(): raise ValueError('y' * 500_000)\n"})
    running = project.start()
    assert running.process.wait() == 1
    err, out = running.err.read_text(encoding="utf-8"), running.out.read_text(encoding="utf-8")
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert "FAILED test_a.py::test_bad" in out
    assert "Passed:            1" in out


def test_a_full_disk_is_no_success(project: Project, small_disk: Path) -> None:
    """All tests passed, but the journal could not be written: exit code 3."""
    noise = "import pytest\n@pytest.mark.parametrize('n', range(800))\ndef test_it(n): pass\n"
    project.write({"test_a.py": noise})
    running = project.start()
    assert running.process.wait() == 3
    err = running.err.read_text(encoding="utf-8")
    assert "No space left on device" in err
    assert "Traceback" not in err


@pytest.fixture
def read_only(project: Project) -> Iterator[Path]:
    """The project, mounted read-only, with a place for reports elsewhere."""
    project.configure(rest=f'[report]\noutput_dir = "{project.temporary.parent / "elsewhere"}"')
    words = ["mount", "--bind", "-o", "ro", str(project.directory), str(project.directory)]
    remount = ["mount", "-o", "remount,bind,ro", str(project.directory)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount")
    subprocess.run(remount, check=True)
    yield project.directory
    subprocess.run(["umount", "-l", str(project.directory)], check=True)


def test_a_read_only_project(project: Project, read_only: Path) -> None:
    """Runs, if the reports go elsewhere; with the reports inside it is exit code 4."""
    ran = project.run()
    assert ran.code == 0, ran.out + ran.err
    assert (project.temporary.parent / "elsewhere/junit.xml").exists()
    ran = project.run(env={"OFFLOAD_REPORT__OUTPUT_DIR": "inside"})
    assert ran.code == 4
    assert "Read-only file system" in ran.err


def test_no_place_for_temporary_files(project: Project) -> None:
    """TMPDIR is not a directory that can be written: said, and no hang."""
    ran = project.run(env={"TMPDIR": "/proc"})
    assert ran.code in (0, 3)


def test_two_groups_and_one_that_cannot_be_imported(project: Project) -> None:
    """A conftest that does not import: every group errs, nothing hangs, the reason is there once for each."""
    project.write({"conftest.py": "import no_such_module\n"})
    project.configure(groups="[groups.a]\n[groups.b]\n")
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"error": 2}
    assert "no_such_module" in ran.out
