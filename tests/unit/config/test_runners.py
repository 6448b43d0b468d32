"""Runners: where they are defined, which definition counts, what they extend, and what they lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offload_core.config.keys import Layer
from offload_core.config.layers import from_flag
from tests.support.organization import PROJECT, Organization, an_organization

LARGE = """
[runners.large]
description = "{0}"
[runners.large.offload]
max_parallel = {1}
[runners.large.provider]
type = "cloud"
"""


@pytest.fixture
def organization(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """Without runners and policy."""
    return an_organization(tmp_path, distributions, monkeypatch)


def test_a_runner_stands_below_the_project(organization: Organization) -> None:
    """Its values count where the project says nothing, and know their file and line."""
    organization.system(LARGE.format("", 50))
    loaded = organization.load()
    assert (loaded.config.offload.max_parallel, loaded.config.provider.type) == (50, "cloud")
    origin = loaded.provenance["offload.max_parallel"]
    assert (origin.layer, origin.line) == (Layer.RUNNER, 4)
    assert origin.source == str(organization.directory / "system/offload/runners.toml")
    organization.project(PROJECT.replace("[framework]", "max_parallel = 7\n[framework]"))
    assert organization.load().config.offload.max_parallel == 7
    assert organization.load(OFFLOAD_OFFLOAD__MAX_PARALLEL="8").config.offload.max_parallel == 8


def test_without_a_selection_no_runner_counts(organization: Organization) -> None:
    """Definitions alone change nothing; an empty name selects none."""
    organization.system(LARGE.format("", 50))
    organization.project(PROJECT.replace('runner = "large"', "") + "[provider]\ntype = 'plain'\n")
    assert organization.load().config.offload.max_parallel == 10
    assert organization.load(from_flag("offload.runner", "large", "--runner")).config.offload.max_parallel == 50
    assert organization.load(OFFLOAD_OFFLOAD__RUNNER="large").assembled.runners[-1].name == "large"
    selected = organization.load(from_flag("offload.runner", "", "--runner"), OFFLOAD_OFFLOAD__RUNNER="large")
    assert selected.assembled.runners == ()


def test_stronger_places_replace_weaker_ones(organization: Organization) -> None:
    """A package, the system, the user, `OFFLOAD_RUNNERS`, the project: each replaces the whole of the one before."""

    def counts() -> tuple[str, int]:
        [runner] = organization.load().assembled.runners
        return runner.tier.value, organization.load().config.offload.max_parallel

    organization.package("acme", LARGE.format("", 11), "large")
    assert counts() == ("package", 11)
    organization.system(LARGE.format("", 12))
    assert counts() == ("system", 12)
    organization.user(LARGE.format("", 13))
    assert counts() == ("user", 13)
    folder = organization.write("folder/b.toml", LARGE.format("", 14)).parent
    organization.write("folder/a.toml", "[runners.other]\n")
    organization.environ["OFFLOAD_RUNNERS"] = str(folder)
    assert counts() == ("OFFLOAD_RUNNERS", 14)
    organization.environ["OFFLOAD_RUNNERS"] = str(folder / "b.toml")
    assert counts() == ("OFFLOAD_RUNNERS", 14)
    organization.project(PROJECT + LARGE.format("", 15))
    assert counts() == ("project", 15)


def test_a_runner_extends_another(organization: Organization) -> None:
    """Over a chain that crosses places; the later one counts, the locks of all hold."""
    organization.package(
        "acme", "[runners.base]\nlocked = ['retry.attempts']\n[runners.base.retry]\nattempts = 5", "base"
    )
    organization.system("[runners.large]\nextends = 'base'\noffload.max_parallel = 50\nprovider.type = 'cloud'\n")
    loaded = organization.load()
    assert [each.name for each in loaded.assembled.runners] == ["base", "large"]
    assert (loaded.config.retry.attempts, loaded.config.offload.max_parallel) == (5, 50)
    assert "retry.attempts: locked by the runner 'base' " in organization.refused(OFFLOAD_RETRY__ATTEMPTS="6")


def test_what_a_runner_extends_is_not_looked_up_in_stronger_places(organization: Organization) -> None:
    """A project cannot put another base under its organization's runner."""
    organization.system(
        "[runners.base.provider]\ntype = 'cloud'\n[runners.large]\nextends = 'base'\nlocked = ['provider']"
    )
    organization.project(PROJECT + "[runners.base.provider]\ntype = 'plain'\n")
    assert organization.load().config.provider.type == "cloud"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[runners.large]\nextends = 'a'\n[runners.a]\nextends = 'b'\n[runners.b]\nextends = 'a'\n",
            "system/offload/runners.toml:5: the runner 'a' extends itself: project/offload.toml:2 -> "
            "large (system/offload/runners.toml:1) -> a (system/offload/runners.toml:3) -> "
            "b (system/offload/runners.toml:5) -> a",
        ),
        (
            "[runners.large]\nextends = 'large'\n",
            "system/offload/runners.toml:1: the runner 'large' extends itself: project/offload.toml:2 -> "
            "large (system/offload/runners.toml:1) -> large",
        ),
        (
            "[runners.large]\nextends = 'smal'\n[runners.small]\n",
            "there is no runner 'smal': project/offload.toml:2 -> large (system/offload/runners.toml:1) -> smal. "
            "Did you mean 'small'? Defined are: large, small",
        ),
        ("", "there is no runner 'large': project/offload.toml:2 -> large. Defined are: none"),
    ],
    ids=["cycle", "itself", "missing base", "missing"],
)
def test_a_chain_that_does_not_end_well_is_shown(organization: Organization, text: str, message: str) -> None:
    """Every link with its file and line."""
    organization.system(text)
    assert organization.refused() == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[runners.large", "runners.toml:1:15: not valid TOML"),
        ("runners = 3", "runners.toml:1: runners: expected a table, found 3 (an integer)"),
        ("runners.large = 3", "runners.toml:1: runners.large: expected a table, found 3"),
        ("[offload]", "runners.toml:1: offload: a file of runners has only tables [runners.NAME]"),
        ("[runners.large]\nlocked = 'x'", "runners.toml:2: runners.large.locked: expected a list"),
        (
            "[runners.large]\nlocked = [\n'x y']",
            "runners.toml:3: runners.large.locked[0]: 'x y' is no key; write it as",
        ),
        (
            "[runners.large]\nlocked = ['x.y']",
            "runners.toml:2: x.y: the runner 'large' locks a key that does not exist",
        ),
        ("[runners.large]\nlocked = ['offload.hedg']", "that does not exist; did you mean hedge?"),
        ("[runners.large]\nlocked = ['offload.runner']", "a runner cannot lock offload.runner"),
        (
            "[runners.large]\n[runners.large.offload]\nrunner = 'x'",
            "runners.toml:3: runners.large.offload.runner: a runner",
        ),
        ("[runners.large.runners.x]", "runners.toml:1: runners.large.runners: runners cannot be nested"),
    ],
)
def test_a_definition_that_is_wrong_is_said(organization: Organization, text: str, message: str) -> None:
    """With the place, whatever is wrong."""
    organization.system(text)
    organization.project(PROJECT + "[provider]\ntype = 'plain'\n")
    assert message in organization.refused()


def test_a_package_that_is_wrong_is_said(organization: Organization) -> None:
    """One that does not load, one without the runner, two that claim one name."""
    organization.package("acme", "", "large", target="MISSING")
    assert "the runner 'large' of acme 1.0 does not load from 'acme:MISSING'" in organization.refused()
    organization.package("bcme", "", "other", target="Path")
    runner = from_flag("offload.runner", "other", "--runner")
    assert "is no plugin: 'bcme:Path' is not the path of a file" in organization.refused(runner)
    organization.package("ccme", "[runners.x]", "third")
    runner = from_flag("offload.runner", "third", "--runner")
    assert "does not define [runners.third], as its entry point says" in organization.refused(runner)
    organization.package("dcme", "[runners.third]", "third")
    assert "claimed by ccme 1.0 (ccme:PATH) and dcme 1.0 (dcme:PATH)" in organization.refused(runner)


def test_a_place_that_is_named_must_be_there(organization: Organization) -> None:
    """`OFFLOAD_RUNNERS` that points nowhere is an error; two definitions in one folder are, too."""
    assert "OFFLOAD_RUNNERS: there is no file or folder nowhere" in organization.refused(OFFLOAD_RUNNERS="nowhere")
    assert "could not be read: File name too long" in organization.refused(OFFLOAD_RUNNERS="x" * 300)
    organization.write("folder/a.toml", "[runners.large]\n")
    folder = organization.write("folder/b.toml", "\n[runners.large]\n").parent
    message = organization.refused(OFFLOAD_RUNNERS=str(folder))
    assert message == "folder/b.toml:1: runners.large: defined at folder/a.toml:1 already"


LOCKING = """
[runners.large]
locked = ["provider", "offload.hedge", "report.output_dir", 'groups."slow tests".retry_count', "history"]
lock_reason = "ask the platform team"
[runners.large.offload]
hedge = true
[runners.large.provider]
type = "cloud"
machine = "m2"
env = {{ REGION = "eu", LEVEL = "3" }}
{0}
"""


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("[provider]\ntype = 'plain'", "provider.type", 7),
        ("[provider]\nmachine = 'm9'", "provider.machine", 7),
        ("[provider]\nkind = 'm9'", "provider.machine", 7),
        ("[provider]\nnew = 1", "provider.new", 7),
        ("provider.machine = 'm9'", "provider.machine", 1),
        ("provider = { machine = 'm9' }", "provider.machine", 1),
        ("provider = 'plain'", "provider", 1),
        ("provider = []", "provider", 1),
        ("[[provider]]\ntype = 'plain'", "provider", 6),
        ("[provider.env]\nREGION = 'us'", "provider.env.REGION", 7),
        ("[provider.env]\nOTHER = 'x'", "provider.env.OTHER", 7),
        ("[provider.env.REGION]\nx = 1", "provider.env.REGION.x", 7),
        ("[provider]\nenv = 'x'", "provider.env", 7),
        ('["provider"]\n"machine" = \'m9\'', "provider.machine", 7),
        ("report = { output_dir = 'x' }", "report.output_dir", 1),
        ("report = 3", "report", 1),
        ('[groups."slow tests"]\nretry_count = 3', 'groups."slow tests".retry_count', 7),
        ("[history]", "history", 6),
    ],
)
def test_a_project_does_not_set_what_its_runner_locks(
    organization: Organization, text: str, key: str, line: int
) -> None:
    """However it is written: the key, the place of it, who locked it and why are said."""
    organization.system(LOCKING.format(""))
    # what has no header of its own has to stand before the first one
    organization.project(PROJECT.strip() + f"\n{text}\n" if text.startswith("[") else f"{text}\n{PROJECT.strip()}\n")
    said = f"project/offload.toml:{line}: {key}: locked by the runner 'large' (system/offload/runners.toml:2)"
    assert organization.refused() == f"{said}: ask the platform team"


@pytest.mark.parametrize("key", ["hedge", "impatiently_requeue_batches"])
def test_an_older_name_is_locked_with_the_newer_one(organization: Organization, key: str) -> None:
    """In the file, in a variable and on the command line, and in the list of locks."""
    organization.system(LOCKING.format(""))
    organization.project(PROJECT.replace("[framework]", f"{key} = false\n[framework]"))
    said = "offload.hedge: locked by the runner 'large' (system/offload/runners.toml:2): ask the platform team"
    assert organization.refused() == f"project/offload.toml:3: {said}"
    organization.project()
    variable = f"OFFLOAD_OFFLOAD__{key.upper()}"
    assert organization.refused(**{variable: "false"}) == f"{variable}: {said}"
    assert organization.refused(from_flag(f"offload.{key}", False, "--flag")) == f"--flag: {said}"
    organization.system(LOCKING.format("").replace('"offload.hedge"', '"offload.impatiently_requeue_batches"'))
    assert organization.refused(**{variable: "false"}) == f"{variable}: {said}"


def test_what_is_locked_can_be_repeated(organization: Organization) -> None:
    """A value that is the locked one anyway changes nothing, and keeps the place that locked it."""
    organization.system(LOCKING.format(""))
    organization.project(
        PROJECT.replace("[framework]", "impatiently_requeue_batches = true\n[framework]")
        + "[provider]\ntype = 'cloud'\nenv = { REGION = 'eu' }\n"
    )
    loaded = organization.load(OFFLOAD_PROVIDER__ENV__LEVEL="3", OFFLOAD_PROVIDER__TYPE="cloud")
    assert loaded.config.provider.options.env == {"REGION": "eu", "LEVEL": "3"}
    assert loaded.provenance["provider.type"].layer is Layer.RUNNER
    assert loaded.provenance["offload.hedge"].layer is Layer.RUNNER


@pytest.mark.parametrize("value", ["1", "'true'", "1.0", "[]", "{}"])
def test_values_that_are_only_alike_are_not_the_same(organization: Organization, value: str) -> None:
    """Python takes 1 for true; a lock does not."""
    organization.system(LOCKING.format(""))
    organization.project(PROJECT.replace("[framework]", f"hedge = {value}\n[framework]"))
    assert "offload.hedge: locked by" in organization.refused()


def test_a_key_can_be_locked_without_a_value(organization: Organization) -> None:
    """It keeps its default, or what the project's other keys would make of it."""
    organization.system(
        "[runners.large]\nlocked = ['offload.max_parallel', 'offload.sandbox_project_root']\n"
        "[runners.large.provider]\ntype = 'plain'\n"
    )
    assert organization.load().config.offload.max_parallel == 10
    assert "offload.max_parallel: locked by" in organization.refused(from_flag("offload.max_parallel", 3, "--parallel"))
    organization.project(PROJECT.replace("[framework]", "sandbox_repo_root = '/x'\n[framework]"))
    assert (
        "project/offload.toml:3: offload.sandbox_repo_root: it would also set offload.sandbox_project_root, which is "
        "locked by the runner 'large'" in organization.refused()
    )


def test_another_plugin_does_not_drop_a_locked_option(organization: Organization) -> None:
    """A lock on a key that the chosen provider does not have is an error that names who chose it."""
    organization.system(
        "[runners.large]\nlocked = ['provider.machine']\n[runners.large.provider]\ntype = 'cloud'\nmachine = 'm2'\n"
    )
    organization.project(PROJECT + "[provider]\ntype = 'plain'\n")
    assert organization.refused() == (
        "project/offload.toml:7: provider.type: the provider 'plain' has no key machine, which is locked by the runner "
        "'large' (system/offload/runners.toml:2)"
    )


def test_a_project_does_not_replace_a_runner_that_locks(organization: Organization) -> None:
    """Another definition of the same name would take the locks away, also those of what the first one extends."""
    organization.package(
        "acme", "[runners.base]\nlocked = ['provider']\n[runners.base.provider]\ntype = 'cloud'", "base"
    )
    organization.system("[runners.large]\nextends = 'base'\n")
    organization.project(PROJECT + "[runners.large.provider]\ntype = 'plain'\n")
    message = organization.refused()
    assert message.startswith("project/offload.toml:6: runners.large: provider is locked by the runner 'base' (")
    assert message.endswith("Another definition of the runner would take that away; give it a name of its own")
    organization.project(PROJECT.replace('"large"', '"mine"') + "[runners.mine]\nextends = 'large'\n")
    assert organization.load().config.provider.type == "cloud"
    organization.project(
        PROJECT.replace('"large"', '"mine"')
        + "[runners.mine]\nextends = 'large'\n[runners.mine.provider]\ntype='plain'\n"
    )
    assert "project/offload.toml:9: provider.type: locked by the runner 'base'" in organization.refused()


def test_variables_do_not_set_what_a_runner_locks(organization: Organization) -> None:
    """A value, a whole table as text, a deeper path, whatever the case of the name."""
    organization.system(
        LOCKING.format("[runners.large.framework]\nenv = { A = 'b' }").replace('"history"', '"framework.env.A"')
    )
    for variable, value in {
        "OFFLOAD_PROVIDER__TYPE": "plain",
        "OFFLOAD_provider__Type": "plain",
        "OFFLOAD_PROVIDER__KIND": "m9",
        "OFFLOAD_PROVIDER__ENV": '{ REGION = "us" }',
        "OFFLOAD_PROVIDER__ENV__region": "us",
        "OFFLOAD_PROVIDER__TYPE__X": "plain",
        "OFFLOAD_FRAMEWORK__ENV": "{}",
        "OFFLOAD_FRAMEWORK__ENV__A": "c",
    }.items():
        message = organization.refused(**{variable: value})
        assert message.startswith(f"{variable}: ")
        assert "locked by the runner 'large' (system/offload/runners.toml:2): ask the platform team" in message


def test_every_attempt_is_said_at_once(organization: Organization) -> None:
    """One message names them all."""
    organization.system(LOCKING.format(""))
    organization.project(PROJECT + "[provider]\ntype = 'plain'\nmachine = 'm9'\n")
    message = organization.refused(OFFLOAD_PROVIDER__ENV__REGION="us")
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "provider.type",
        "provider.machine",
        "provider.env.REGION",
    ]
