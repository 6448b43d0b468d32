"""`offload config` and `offload runners`: what is in force, and where it comes from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from offload_core.cli import main
from tests.support.organization import PROJECT, Organization, an_organization

ROOT = Path(__file__).parents[2]

RUNNERS = """
[runners.base]
locked = ["retry.attempts"]
lock_reason = "the backend is slow"
[runners.base.retry]
attempts = 5
[runners.large]
description = "Many large machines"
extends = "base"
[runners.large.offload]
max_parallel = 50
[runners.large.provider]
type = "cloud"
api_key = "sk-live-12345678"
"""

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def organization(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """With a runner that extends another, and a project that selects it; in the project's directory."""
    made = an_organization(tmp_path, distributions, monkeypatch)
    made.system(RUNNERS)
    monkeypatch.chdir(made.directory / "project")
    return made


@pytest.fixture
def said(organization: Organization, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command line: its exit code, stdout and stderr, without the directory in them."""

    def said(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        directory = f"{organization.directory}/"
        return code, captured.out.replace(directory, ""), captured.err.replace(directory, "")

    return said


def test_the_effective_configuration_is_toml_with_origins(said: Said) -> None:
    """What it prints can be read again, and says of each value where it is from and whether it is locked."""
    code, text, errors = said("config")
    assert (code, errors) == (0, "")
    values = tomllib.loads(text)
    assert (values["offload"]["max_parallel"], values["provider"]["type"]) == (50, "cloud")
    lines = text.splitlines()
    assert "# Runner: large (system/offload/runners.toml:6) -> base (system/offload/runners.toml:1)" in lines
    assert "max_parallel = 50  # system/offload/runners.toml:10 (runner)" in lines
    assert "attempts = 5  # system/offload/runners.toml:5 (runner), locked" in lines
    assert "hedge = true  # default" in lines
    assert "# working_dir is not set" in lines
    assert "sk-live" not in text


def test_secrets_are_masked_everywhere(said: Said, organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the key or variable, by what the environment holds, and in what was covered."""
    monkeypatch.setenv("DEPLOY_TOKEN", "t0ken-from-outside")
    organization.project(
        PROJECT
        + "[provider.env]\nA = 'x t0ken-from-outside y'\nMY_SECRET = 'hunter2hunter2'\nL = 'listed-value'\n"
        + "[runners.x.provider.env]\nB_TOKEN = 'hunter3hunter3'\n"
    )
    monkeypatch.setenv("OFFLOAD_OFFLOAD__SECRETS", '["L"]')
    monkeypatch.setenv("OFFLOAD_PROVIDER__ENV__MY_SECRET", "hunter4hunter4")
    for arguments in (
        ["config"],
        ["config", "explain", "provider"],
        ["runners", "show", "large"],
        ["runners", "show", "x"],
    ):
        for form in ([], ["--json"]):
            code, text, _ = said(*arguments, *form)
            assert code == 0
            assert "***" in text
            assert not [word for word in ("sk-live", "t0ken", "hunter", "listed-value") if word in text]


def test_json_of_the_effective_configuration(said: Said) -> None:
    """Values, origins, the chain of runners and the locks."""
    told = json.loads(said("config", "--json")[1])
    assert told["values"]["groups"] == {"all": {"retry_count": 0, "filters": "", "schedule_individual": False}}
    assert told["values"]["offload"]["working_dir"] is None
    assert told["origins"]["offload.max_parallel"] == "system/offload/runners.toml:10"
    assert [each["name"] for each in told["runner"]] == ["large", "base"]
    assert told["policy"] is None
    assert told["locks"] == [
        {
            "key": "retry.attempts",
            "by": "the runner 'base'",
            "origin": "system/offload/runners.toml:2",
            "reason": "the backend is slow",
        }
    ]


def test_a_value_is_explained(said: Said, organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts, who set it, all that it covers, strongest first, and that nothing locks it."""
    organization.project(PROJECT.replace("[framework]", "max_parallel = 7\n[framework]"))
    monkeypatch.setenv("OFFLOAD_OFFLOAD__MAX_PARALLEL", "8")
    assert said("config", "explain", "offload.max_parallel") == (
        0,
        "offload.max_parallel = 8\n"
        "  from       OFFLOAD_OFFLOAD__MAX_PARALLEL (environment)\n"
        "  overrides  7, from offload.toml:3 (file)\n"
        "             50, from system/offload/runners.toml:10 (runner)\n"
        "             10, from default\n"
        "  not locked\n"
        "  How many sandboxes at most.\n",
        "",
    )


def test_a_lock_is_explained(said: Said, organization: Organization) -> None:
    """Who locked it, where and why, as text and as JSON; an older name is explained under today's."""
    organization.policy(
        "[policy]\nlocked = ['offload.hedge']\nlock_reason = 'we pay twice'\n[offload]\nhedge = false\n"
    )
    code, text, _ = said("config", "explain", "offload.impatiently_requeue_batches")
    assert code == 0
    assert text.startswith("offload.hedge = false\n  from       policy.toml:5 (policy)\n")
    assert "\n  locked by the policy (policy.toml:2): we pay twice\n" in text
    [told] = json.loads(said("config", "explain", "offload.hedge", "--json")[1])
    assert told == {
        "key": "offload.hedge",
        "value": False,
        "origin": "policy.toml:5",
        "layer": "policy",
        "overrides": [{"value": True, "origin": "default"}],
        "locked": {"key": "offload.hedge", "by": "the policy", "origin": "policy.toml:2", "reason": "we pay twice"},
    }
    assert "Policy: policy.toml" in said("validate")[1]


def test_a_table_is_explained_key_by_key(said: Said) -> None:
    """Of a group, too; what does not exist is an error with what is near."""
    told = json.loads(said("config", "explain", "groups.all", "--json")[1])
    assert [each["key"] for each in told] == [
        f"groups.all.{key}" for key in ("retry_count", "filters", "schedule_individual")
    ]
    assert said("config", "explain", "offload.max_paralel") == (
        4,
        "",
        "Error: there is no key 'offload.max_paralel'; did you mean offload.max_parallel?\n",
    )


def test_the_configuration_is_shown_with_another_runner(said: Said, organization: Organization) -> None:
    """`--runner`, as for a run; nothing in place of a name selects none."""
    organization.project(PROJECT + "[provider]\ntype = 'plain'\n")
    assert "max_parallel = 10  # default" in said("config", "--runner", "")[1]
    code, text, _ = said("config", "explain", "offload.runner", "--runner", "base")
    assert (code, text.splitlines()[:3]) == (
        0,
        [
            'offload.runner = "base"',
            "  from       --runner (command line)",
            '  overrides  "large", from offload.toml:2 (file)',
        ],
    )
    code, _, errors = said("config", "--runner", "base", "explain", "offload.runner")
    assert (code, errors.splitlines()[-1]) == (4, "Error: Options belong behind the name of the subcommand.")


def test_runners_are_listed(said: Said, organization: Organization) -> None:
    """What counts and what does not, and what is broken with the reason; without an offload.toml, too."""
    organization.package("acme", "[runners.large]\n", "large")
    organization.package("bcme", "[runners.worse]\nlocked = 3\n", "worse")
    organization.user("[runners.small]\nextends = 'nothing'\n")
    (organization.directory / "project/offload.toml").unlink()
    code, text, errors = said("runners")
    assert (code, errors) == (0, "")
    assert (
        "large  Many large machines (extends base)\n       system: system/offload/runners.toml:6: runners.large\n"
        in text
    )
    assert "package: the package acme 1.0\n       not used: replaced by the one of the system" in text
    told = {
        each["name"]: each for each in json.loads(said("runners", "--json")[1]) if not each["note"].startswith("not")
    }
    assert told["base"]["locked"] == ["retry.attempts"]
    assert told["large"]["extends"] == "base"
    assert "there is no runner 'nothing'" in told["small"]["note"]
    assert "runners.worse.locked: expected a list" in told["worse"]["note"]


def test_a_runner_is_shown_with_all_that_it_extends(said: Said) -> None:
    """Values with their lines, and locks with their reasons; one that is not there is an error."""
    code, text, _ = said("runners", "show", "large")
    assert code == 0
    assert text.splitlines()[:3] == [
        "large: Many large machines",
        "  large (system/offload/runners.toml:6) -> base (system/offload/runners.toml:1)",
        "  retry.attempts = 5  # system/offload/runners.toml:5",
    ]
    assert (
        "  retry.attempts is locked by the runner 'base' (system/offload/runners.toml:2): the backend is slow" in text
    )
    told = json.loads(said("runners", "show", "large", "--json")[1])
    assert told["values"]["provider"]["type"] == "cloud"
    assert [each["name"] for each in told["chain"]] == ["large", "base"]
    for name in ("lage", ""):
        code, _, errors = said("runners", "show", name)
        assert (code, errors.partition(":")[2].partition(":")[0]) == (4, f" there is no runner {name!r}")


def test_a_runner_is_shown_without_the_secrets_that_it_lists(organization: Organization, said: Said) -> None:
    """A variable that `secrets` names is as secret as one whose name ends in TOKEN."""
    text = "[runners.db]\n[runners.db.offload]\nsecrets = ['DATABASE_URL']\n"
    organization.write("system/offload/runners.toml", text + "[runners.db.provider.env]\nDATABASE_URL = 'hunter2222'\n")
    for arguments in (["runners", "show", "db"], ["runners", "show", "db", "--json"]):
        code, shown, _ = said(*arguments)
        assert code == 0
        assert "DATABASE_URL" in shown
        assert "hunter2222" not in shown


@pytest.mark.parametrize(
    ("locked", "arguments", "words"),
    [
        ("provider.env", ["--env", "A=b"], "--env A: provider.env.A"),
        ("provider.env.A", ["--env", "A=b"], "--env A: provider.env.A"),
        ("provider", ["--override-image-id", "x"], "--override-image-id: provider"),
        ("provider.machine", ["--override-image-id", "x"], "--override-image-id: provider.machine"),
        (
            "offload.sandbox_init_cmd",
            ["--override-image-id", "x"],
            "--override-image-id: offload.sandbox_init_cmd",
        ),
        ("provider", ["--copy-dir", ".:x"], "--copy-dir: provider.copy_dirs"),
        ("offload.max_parallel", ["-p", "3"], "--parallel: offload.max_parallel"),
        ("offload.runner", ["--runner", "base"], "--runner: offload.runner"),
    ],
)
def test_no_option_of_a_run_gets_around_a_lock(
    said: Said, organization: Organization, locked: str, arguments: list[str], words: str
) -> None:
    """Options that set keys, and options that do what a key says."""
    organization.policy(
        f"[policy]\nlocked = ['{locked}']\nlock_reason = 'reasons'\n[offload]\nrunner = 'large'\n{RUNNERS}"
    )
    (organization.directory / "system/offload/runners.toml").unlink()
    code, out, errors = said("run", *arguments)
    assert (code, out) == (4, "")
    assert errors == f"Error: {words}: locked by the policy (policy.toml:2): reasons\n"


def schema(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command prints, checked to be a schema."""
    assert main(["config", "schema", *arguments]) == 0
    made = json.loads(capsys.readouterr().out)
    jsonschema.Draft7Validator.check_schema(made)
    return made


def test_the_schema_in_the_documentation_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """It is what `offload config schema --generic` prints."""
    there = json.loads((ROOT / "docs/offload.schema.json").read_text(encoding="utf-8"))
    assert there == schema("--generic", capsys=capsys)


CONFIGURATIONS = [
    *sorted(path for path in (ROOT / "docs/examples").rglob("offload.toml")),
    ROOT / "offload.toml",
]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_real_configurations_are_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the generic schema, and by the one with the installed plugins."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(values, schema("--generic", capsys=capsys))
    jsonschema.validate(values, schema(capsys=capsys))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("[offload]\nmax_parallel = 'x'", ["offload", "max_parallel"]),
        ("[offload]\nmax_paralel = 3", ["offload"]),
        ("[ofload]", []),
        ("[provider]\ntype = 'cloud'\nmachin = 'x'", ["provider"]),
        ("[provider]\ntype = 'clod'", ["provider", "type"]),
        ("[provider]\ntype = 'cloud'\nenv = { A = 1 }", ["provider", "env", "A"]),
        ("[framework]\ndiscover_in = 'there'", ["framework", "discover_in"]),
        ("[groups.all]\nretry_count = 1.5", ["groups", "all", "retry_count"]),
        ("[runners.x]\nlocked = 'x'", ["runners", "x", "locked"]),
        ("[runners.x.offload]\nhedge = 1", ["runners", "x", "offload", "hedge"]),
    ],
)
@pytest.mark.usefixtures("organization")
def test_what_is_wrong_is_not_valid(text: str, at: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong types and unknown names, of the core and of plugins, in runners too; with the place."""
    [error] = jsonschema.Draft7Validator(schema(capsys=capsys)).iter_errors(tomllib.loads(text))
    assert list(error.absolute_path) == at


@pytest.mark.usefixtures("organization")
def test_what_may_be_written_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """Older names, keys of plugins, a table without what a runner gives, runners in the file."""
    text = (
        "[offload]\nrunner = 'x'\nimpatiently_requeue_batches = true\ntest_timeout_secs = 3\n"
        "[provider]\ntype = 'cloud'\nkind = 'm2'\n[groups.all]\n"
        "[runners.x]\nextends = 'y'\nlocked = ['provider']\n[runners.x.provider]\nmachine = 'm3'\n"
    )
    jsonschema.validate(tomllib.loads(text), schema(capsys=capsys))
