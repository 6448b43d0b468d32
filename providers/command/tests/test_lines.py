"""What the user's command lines become: placeholders, quoting, references, and what is refused."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from offload_command import CommandOptions, CommandProvider
from offload_command._template import fill, pairs, remote_line

from offload_core.abc import Command, Context, SandboxRef
from offload_core.config.loading import load

HOSTILE = (
    "",
    " ",
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "$(id)",
    "a\nb",
    "\\",
    ";",
    "&",
    "|",
    "*",
    "~",
    "#",
    "!",
    "{command}",
    "@x.py",
    "ünï → 名",
)
REQUIRED: dict[str, Any] = {"create_command": "create", "exec_command": "exec {command}", "destroy_command": "destroy"}


def words(line: str) -> list[str]:
    """The arguments that a shell makes of a line that begins with `show`."""
    script = f'show() {{ for word; do printf "%s\\0" "$word"; done; }}; {line}'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_placeholder_is_one_word(value: str) -> None:
    """Whatever is filled in arrives unchanged as one argument, also between others and inside a word."""
    line = fill("show a {sandbox_id} x={sandbox_id} {command}", {"sandbox_id": value, "command": value})
    assert words(line) == ["a", value, f"x={value}", value]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_command_is_one_line_for_a_shell(value: str) -> None:
    """A shell in the sandbox makes of it the arguments, variables and directory that were meant."""
    script = 'printf "%s\\0" "$@" "$VALUE" "$BOTH"; pwd'
    command = Command(argv=("sh", "-c", script, "sh", value, "-n", value), env={"VALUE": value, "BOTH": "command"})
    line = fill("sh -c {command}", {"command": remote_line(command, PurePosixPath("/usr"), {"BOTH": "sandbox"})})
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode().split("\0") == [value, "-n", value, value, "command", "/usr\n"]


def test_other_braces_stay() -> None:
    """Shell and awk use braces, too; only the names of placeholders mean something, and not after a dollar sign."""
    template = "show ${sandbox_id:-x} '{print}' {unknown} a{b,c} {sandbox_id}"
    assert fill(template, {"sandbox_id": "id"}) == "show ${sandbox_id:-x} '{print}' {unknown} a{b,c} id"
    assert fill("show ${sandbox_id} {sandbox_id}", {"sandbox_id": "id"}) == "show ${sandbox_id} id"


def test_paths_are_a_word_for_each_pair() -> None:
    """Source and target are quoted, the colon between them is not, whatever the paths are."""
    assert pairs([("/a b", "/c")]) == "'/a b':/c"
    found = words(fill("show {paths}", {}, pairs((value, f"/to/{value}") for value in HOSTILE)))
    assert found == [f"{value}:/to/{value}" for value in HOSTILE]


def test_references_are_resolved_by_entry_points(packages: Any) -> None:
    """`@name.ext` at the beginning or after white space is the path of a script that a package offers."""
    package = packages.directory / "offload_cloud"
    package.mkdir()
    (package / "__init__.py").touch()
    module = package / "tool.py"
    module.write_text("raise SystemExit('it must not be imported')", encoding="utf-8")
    packages.add("offload-cloud", {"cloud_sandbox.py": "offload_cloud.tool"})
    assert words(fill("show @cloud_sandbox.py create", {})) == [str(module), "create"]
    assert fill("@cloud_sandbox.py", {}) == shlex.quote(str(module))
    for other in ("show me@cloud_sandbox.py", "show @scope/tool.js", "show '@cloud_sandbox.py'", "show @cloud"):
        assert fill(other, {}) == other
    assert fill("show {command}", {"command": "a @cloud_sandbox.py"}) == "show 'a @cloud_sandbox.py'"


def test_an_unknown_reference_is_refused(packages: Any) -> None:
    """When the configuration is read, with the names that there are; also one that two packages offer."""
    for number in (1, 2):
        packages.add(f"offload-cloud{number}", {"cloud.py": f"offload_cloud{number}"})
    with pytest.raises(ValueError, match=r"'create_command' the script @other.py .* no installed package.*@cloud.py"):
        CommandOptions(**{**REQUIRED, "create_command": "uv run @other.py create"})
    with pytest.raises(ValueError, match=r"offload_cloud1 and offload_cloud2"):
        CommandOptions(**{**REQUIRED, "create_command": "uv run @cloud.py create"})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"exec_command": "ssh host"}, "'exec_command' must contain {command}"),
        ({"create_command": " "}, "'create_command' must not be empty"),
        ({"copy_dirs": ("here",)}, "LOCAL:REMOTE"),
        ({"timeout_secs": 0.0}, "timeout_secs"),
        ({"cpu_cores": 0.0}, "cpu_cores"),
        ({"cost_per_cpu_second": -1.0}, "cost_per_cpu_second"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], words: str) -> None:
    """When the configuration is read, naming the key."""
    with pytest.raises(ValueError, match=words):
        CommandOptions(**{**REQUIRED, **wrong})


def test_cost_has_no_price_of_its_own() -> None:
    """Without a price there is no estimate; with one it is seconds times cores times price."""
    ref = SandboxRef(id="id")
    assert CommandProvider(CommandOptions(**REQUIRED), Context()).cost(ref, 100) is None
    priced = CommandProvider(CommandOptions(**REQUIRED, cpu_cores=2.0, cost_per_cpu_second=0.001), Context())
    estimate = priced.cost(ref, 100)
    assert estimate is not None
    assert estimate.amount == pytest.approx(0.2)


CONFIG = """
[offload]
max_parallel = 10
test_timeout_secs = 900
working_dir = "."
sandbox_repo_root = "/app"
sandbox_project_root = "/app/project"
sandbox_init_cmd = "make"
post_patch_cmd = "echo ${{NODE_VERSION}}"
impatiently_requeue_batches = false
max_parallel_collection = 0
stream_output = true

[provider]
type = "{type}"
prepare_command = "./prepare.sh"
create_command = "./create.sh {{image_id}} --cpu {{cpu_cores}}"
exec_command = "./exec.sh {{sandbox_id}} {{command}}"
destroy_command = "./destroy.sh {{sandbox_id}}"
download_command = "./download.sh {{sandbox_id}} {{paths}}"
working_dir = "scripts"
timeout_secs = 3600
copy_dirs = ["a:/b"]
cpu_cores = 1
exec_and_fetch_command = "./both.sh"

[provider.env]
A = "${{OFFLOAD_TEST_A:-x}}"

[framework]
type = "pytest"
command = "uv run pytest"
paths = ["tests"]
run_args = "-p no:randomly"
test_id_format = "{{name}}"

[groups.unit]
retry_count = 2
filters = "-m 'not slow'"
schedule_individual = true

[report]
output_dir = "test-results"
junit = true
junit_file = "junit.xml"
download_globs = ["**/.coverage"]
download_globs_failure_only = false

[checkpoint]
build_inputs = ["libs/*/pyproject.toml"]

[history]
record_history = "always"
path = "offload-history.jsonl"
reservoir_size = 20
default_duration_secs = 1.0
"""


@pytest.mark.parametrize("name", ["default", "command"])
def test_every_key_of_an_old_configuration_is_accepted(name: str, tmp_path: Path) -> None:
    """Under both names, also whole numbers for floats. Only keys that the Rust tool did not know are unknown."""
    path = tmp_path / "offload.toml"
    path.write_text(CONFIG.format(type=name), encoding="utf-8")
    loaded = load(path, environ={})
    assert loaded.provider_class is CommandProvider
    unknown = [warning.split()[4] for warning in loaded.warnings if "unrecognized" in warning]
    assert sorted(unknown) == ["offload.stream_output", "provider.exec_and_fetch_command"]
    assert not [warning for warning in loaded.warnings if "provider." in warning and "exec_and_fetch" not in warning]
    options = loaded.config.provider.options
    assert (options.timeout_secs, options.cpu_cores, options.env) == (3600.0, 1.0, {"A": "x"})
    assert options.copy_dirs == ("a:/b",)
    assert loaded.config.offload.post_patch_cmd == "echo ${NODE_VERSION}"
