"""The policy of a machine: what it locks nobody sets, from wherever it is tried, and each attempt says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offload_core.config import policy
from offload_core.config.keys import Layer
from offload_core.config.layers import from_flag
from tests.support.organization import PROJECT, Organization, an_organization

POLICY = """
[policy]
locked = ["offload.runner", "provider", "offload.hedge"]
lock_reason = "costs are budgeted"
[offload]
runner = "large"
[runners.large]
description = "The only one"
[runners.large.offload]
max_parallel = 50
[runners.large.provider]
type = "cloud"
machine = "m2"
"""

OTHER = "[runners.large.provider]\ntype = 'plain'\n"
BY = "locked by the policy (policy.toml:2): costs are budgeted"
UNSELECTED = PROJECT.replace('runner = "large"', "")


@pytest.fixture
def organization(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """With a policy that locks its own runner, and a project that selects none."""
    made = an_organization(tmp_path, distributions, monkeypatch)
    made.policy(POLICY)
    made.project(UNSELECTED)
    return made


def test_the_runner_of_the_policy_counts_without_a_selection(organization: Organization) -> None:
    """A project that says nothing, and one that says the same, get it; what is not locked is theirs."""
    loaded = organization.load()
    assert loaded.config.provider.options.machine == "m2"
    assert loaded.assembled.runners[-1].tier == "policy"
    organization.project(PROJECT.replace("[framework]", "max_parallel = 3\n[framework]"))
    loaded = organization.load(from_flag("offload.runner", "large", "--runner"), OFFLOAD_OFFLOAD__RUNNER="large")
    assert (loaded.config.provider.type, loaded.config.offload.max_parallel) == ("cloud", 3)
    assert loaded.provenance["offload.runner"].layer is Layer.POLICY


@pytest.mark.parametrize(
    ("text", "attempt"),
    [
        ("[offload]\nrunner = 'mine'", "project/offload.toml:2: offload.runner"),
        ("[offload]\nrunner = ''", "project/offload.toml:2: offload.runner"),
        ("[offload]\n'runner' = 'Large'", "project/offload.toml:2: offload.runner"),
        ("offload = { runner = 'mine' }", "project/offload.toml:1: offload.runner"),
        ("offload.runner = 'mine'", "project/offload.toml:1: offload.runner"),
        ("[offload]\nimpatiently_requeue_batches = false", "project/offload.toml:2: offload.hedge"),
        ("[offload]\n[provider]\ntype = 'plain'", "project/offload.toml:3: provider.type"),
        ("provider = { type = 'plain' }", "project/offload.toml:1: provider.type"),
        ("[offload]\n[provider]\nkind = 'm9'", "project/offload.toml:3: provider.machine"),
        ("offload = 1", "project/offload.toml:1: offload"),
    ],
)
def test_no_project_file_gets_around_it(organization: Organization, text: str, attempt: str) -> None:
    """By whatever spelling; another file that `-c` names is a project file, too."""
    rest = "[framework]\ntype = 'tests'\n[groups.all]\n[runners.mine.provider]\ntype = 'plain'\n"
    organization.project(f"{text}\n{rest}")
    assert organization.refused() == f"{attempt}: {BY}"
    organization.project(UNSELECTED)
    organization.file = organization.write("elsewhere/other.toml", f"{text}\n{rest}")
    assert organization.refused() == f"{attempt}: {BY}".replace("project/offload", "elsewhere/other")


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("OFFLOAD_OFFLOAD__RUNNER", "mine", "offload.runner"),
        ("OFFLOAD_offload__runner", "mine", "offload.runner"),
        ("OFFLOAD_OFFLOAD__RUNNER", "", "offload.runner"),
        ("OFFLOAD_OFFLOAD__RUNNER__X", "mine", "offload.runner.X"),
        ("OFFLOAD_PROVIDER__TYPE", "plain", "provider.type"),
        ("OFFLOAD_PROVIDER__KIND", "m9", "provider.machine"),
        ("OFFLOAD_PROVIDER__ENV__A", "b", "provider.env.A"),
        ("OFFLOAD_OFFLOAD__IMPATIENTLY_REQUEUE_BATCHES", "false", "offload.hedge"),
    ],
)
def test_no_variable_gets_around_it(organization: Organization, variable: str, value: str, key: str) -> None:
    """Of those that set values of the configuration."""
    assert organization.refused(**{variable: value}) == f"{variable}: {key}: {BY}"


@pytest.mark.parametrize(
    ("flag", "value", "key"),
    [("--runner", "mine", "offload.runner"), ("--runner", "", "offload.runner"), ("--x", "plain", "provider.type")],
)
def test_no_flag_gets_around_it(organization: Organization, flag: str, value: str, key: str) -> None:
    """Of those that set values of the configuration; the command's own are tested with the command."""
    assert organization.refused(from_flag(key, value, flag)) == f"{flag}: {key}: {BY}"


def test_a_flag_for_another_key_is_refused_too(organization: Organization) -> None:
    """`--parallel`, where that is what is locked."""
    organization.policy(POLICY.replace('"offload.hedge"', '"offload.max_parallel"'))
    message = organization.refused(from_flag("offload.max_parallel", 51, "--parallel"))
    assert message == f"--parallel: offload.max_parallel: {BY}"
    assert organization.load(from_flag("offload.max_parallel", 50, "--parallel")).config.offload.max_parallel == 50


def test_nobody_else_defines_a_runner_of_the_policy(organization: Organization) -> None:
    """Not the project, not a package, not a directory that variables move: each attempt is an error, not a shadow."""
    because = "the policy defines the runner 'large' (policy.toml:6), and no other place may"
    organization.project(UNSELECTED + OTHER)
    assert organization.refused() == f"project/offload.toml:6: runners.large: {because}"
    organization.project(UNSELECTED)
    named = organization.write("mine.toml", OTHER)
    assert organization.refused(OFFLOAD_RUNNERS=str(named)) == f"mine.toml:1: runners.large: {because}"
    system = organization.system(OTHER)
    assert organization.refused() == f"system/offload/runners.toml:1: runners.large: {because}"
    system.unlink()
    user = organization.user(OTHER)
    assert organization.refused() == f"user/offload/runners.toml:1: runners.large: {because}"
    user.unlink()
    organization.package("acme", OTHER, "large")
    assert organization.refused() == f"the package acme 1.0: {because}"


def test_a_locked_runner_comes_from_the_policy_alone(organization: Organization) -> None:
    """Where the policy selects a runner that it does not define, no other definition counts, however it got there."""
    organization.policy("[policy]\nlocked = ['offload.runner']\n[offload]\nrunner = 'large'\n")
    message = (
        "there is no runner 'large' in the policy{0}: policy.toml:4 -> large. A runner that the policy locks, or that "
        "extends one of its own, has to stand in the policy or in what its `runners` names"
    )
    assert organization.refused() == message.format("")
    organization.package("acme", OTHER, "large")
    assert "large" in organization.refused()
    organization.system(OTHER)
    there = " (the one at system/offload/runners.toml:1 does not count)"
    assert organization.refused() == message.format(there)
    organization.project(UNSELECTED + OTHER)
    assert organization.refused() == message.format(" (the one at project/offload.toml:6 does not count)")


def test_the_policy_names_files_with_its_runners(organization: Organization) -> None:
    """Absolute paths, of files and folders; what is in them counts as if it stood in the policy."""
    organization.write("etc/more.toml", "[runners.large]\nextends = 'base'\n")
    base = organization.write("etc/base/a.toml", "[runners.base.provider]\ntype = 'cloud'\n")
    more = [str(organization.directory / "etc/more.toml"), str(base.parent)]
    text = f"[policy]\nlocked = ['offload.runner']\nrunners = {more}\n[offload]\nrunner = 'large'\n"
    organization.policy(text)
    assert organization.load().config.provider.type == "cloud"
    organization.project(UNSELECTED + OTHER.replace("large", "base"))
    assert "project/offload.toml:6: runners.base: the policy defines" in organization.refused()
    organization.project(UNSELECTED)
    base.unlink()
    organization.system(OTHER.replace("large", "base"))
    assert "there is no runner 'base' in the policy (the one at system/" in organization.refused()
    organization.policy(text.replace(more[0], "more.toml"))
    assert organization.refused() == "policy.toml:3: policy.runners[0]: not an absolute path: more.toml"
    organization.policy(text + "[runners.large]\n")
    assert "etc/more.toml:1: runners.large: defined at policy.toml:6 already" in organization.refused()
    organization.policy(text.replace(more[0], "/there/is/none.toml"))
    assert "policy: there is no file or folder /there/is/none.toml" in organization.refused()


def test_a_runner_does_not_set_what_the_policy_locks(organization: Organization) -> None:
    """Neither one that a package brings nor one that extends the policy's."""
    organization.policy("[policy]\nlocked = ['provider.type']\n[provider]\ntype = 'cloud'\n[runners.base]\n")
    organization.package("acme", OTHER, "large")
    organization.project()
    message = organization.refused()
    assert message.endswith("acme.toml:2: provider.type: locked by the policy (policy.toml:2)")
    organization.project(PROJECT.replace("large", "mine") + "[runners.mine]\nextends = 'base'\nprovider.type = 'plain'")
    assert organization.refused() == "project/offload.toml:8: provider.type: locked by the policy (policy.toml:2)"


def test_the_policy_is_above_runners_and_below_the_project(organization: Organization) -> None:
    """Its values replace a runner's, also what that locks; the project replaces those that are not locked."""
    organization.policy("[retry]\nattempts = 7\n[offload]\nhedge = false\n")
    organization.system(
        "[runners.large]\nlocked = ['retry']\nretry.attempts = 2\noffload.hedge = true\nprovider.type = 'cloud'\n"
    )
    organization.project()
    loaded = organization.load(OFFLOAD_OFFLOAD__HEDGE="true")
    assert (loaded.config.retry.attempts, loaded.config.offload.hedge) == (7, True)
    assert "retry.attempts: locked by the runner 'large'" in organization.refused(OFFLOAD_RETRY__ATTEMPTS="2")


def test_a_policy_may_set_a_runner_without_locking_it(organization: Organization) -> None:
    """It is the one for projects that select none."""
    organization.policy("[offload]\nrunner = 'large'\n" + OTHER)
    assert organization.load().config.provider.type == "plain"
    organization.system(OTHER.replace("large", "other").replace("plain", "cloud"))
    assert organization.load(OFFLOAD_OFFLOAD__RUNNER="other").config.provider.type == "cloud"


def test_options_that_are_not_locked_go_with_their_provider(organization: Organization) -> None:
    """Where a project may choose another one, what the policy says for the first is a warning, as of a runner."""
    organization.policy(POLICY.replace('"provider", ', ""))
    organization.project(UNSELECTED + "[provider]\ntype = 'plain'\n")
    loaded = organization.load()
    assert loaded.config.provider.type == "plain"
    assert "Ignoring unrecognized config key: provider.machine" in loaded.warnings[0]
    organization.policy(POLICY.replace("machine", "machin"))
    organization.project(UNSELECTED)
    assert organization.refused() == "policy.toml:12: provider.machin: there is no such key; did you mean machine?"


def test_keys_of_another_case_set_nothing(organization: Organization) -> None:
    """TOML tells cases apart, so they are unknown keys: a warning, and no effect."""
    organization.project(UNSELECTED.replace("[offload]", "[offload]\nHedge = false") + "[Provider]\ntype = 'plain'\n")
    loaded = organization.load()
    assert (loaded.config.offload.hedge, loaded.config.provider.type) == (True, "cloud")
    assert len(loaded.warnings) == 2


def test_variables_do_not_define_runners_or_policies(organization: Organization) -> None:
    """Neither is a table of the configuration: a warning, and no effect."""
    loaded = organization.load(OFFLOAD_RUNNERS__LARGE__PROVIDER__TYPE="plain", OFFLOAD_POLICY__LOCKED="[]")
    assert loaded.config.provider.type == "cloud"
    assert [each.partition(" (")[0] for each in loaded.warnings] == [
        "Ignoring unrecognized config key: policy",
        "Ignoring unrecognized config key: runners",
    ]
    assert "offload.hedge: locked by" in organization.refused(
        OFFLOAD_POLICY__LOCKED="[]", OFFLOAD_OFFLOAD__HEDGE="false"
    )


def test_an_option_that_is_locked_is_not_dropped_with_its_provider(organization: Organization) -> None:
    """The policy locks an option, and somebody chooses a provider without it."""
    organization.policy("[policy]\nlocked = ['provider.machine']\n[provider]\nmachine = 'm2'\n")
    organization.project(UNSELECTED + "[provider]\ntype = 'plain'\n")
    assert organization.refused() == (
        "project/offload.toml:7: provider.type: the provider 'plain' has no key machine, which is locked by the policy "
        "(policy.toml:2)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says nothing; remove the file if there is to be none"),
        ("[policy", "policy.toml:1:8: not valid TOML"),
        ("[polcy]\nlocked = []", "policy.toml:1: polcy: a policy has no such table; did you mean policy?"),
        ("[policy]\nlock = []", "policy.toml:2: policy.lock: there is no such key; did you mean locked?"),
        ("[policy]\nlocked = 'provider'", 'policy.toml:2: policy.locked: expected a list, found "provider" (a string)'),
        ("[policy]\nlocked = ['provider', 'ofload.hedge']", "policy.toml:2: ofload.hedge: the policy locks a key that"),
        ("[policy]\nlocked = ['runners']", "policy.toml:2: runners: the policy locks a key that does not exist"),
        ("policy = 3", "policy.toml:1: policy: expected a table, found 3 (an integer)"),
        ("[offload]\nhedg = true", "policy.toml:2: offload.hedg: there is no such key; did you mean hedge?"),
        ("[offload]\nrunner = 3", "policy.toml:2: offload.runner: expected a string, found 3 (an integer)"),
        ("[offload]\nmax_parallel = 'x'", "policy.toml:2: offload.max_parallel: expected an integer"),
        ("[runners.x]\nextends = 3", "policy.toml:2: runners.x.extends: expected a string, found 3 (an integer)"),
    ],
)
def test_a_policy_that_is_not_understood_lets_nothing_run(organization: Organization, text: str, message: str) -> None:
    """Half a policy must not be in force without a word."""
    organization.policy(text)
    organization.project(UNSELECTED + "[provider]\ntype = 'plain'\n")
    assert message in organization.refused()


def test_a_policy_that_cannot_be_read_lets_nothing_run(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no text, a directory, links to nothing, a path below a file: none of these is "no policy"."""
    path = organization.directory / "policy.toml"
    organization.project(UNSELECTED + "[provider]\ntype = 'plain'\n")
    path.write_bytes(b"\xff\xfe")
    assert "the policy of this machine cannot be used: policy.toml is not UTF-8" in organization.refused()
    path.unlink()
    assert organization.load().config.provider.type == "plain"
    path.mkdir()
    assert organization.refused().endswith("policy.toml could not be read: Is a directory")
    path.rmdir()
    path.symlink_to("nowhere")
    assert organization.refused() == "the policy policy.toml cannot be read: policy.toml is a link to nothing"
    (organization.directory / "link").symlink_to("nowhere")
    monkeypatch.setattr(policy, "POLICY_FILE", organization.directory / "link/policy.toml")
    assert organization.refused() == "the policy link/policy.toml cannot be read: link is a link to nothing"
    monkeypatch.setattr(policy, "POLICY_FILE", organization.directory / "project/offload.toml/policy.toml")
    assert "could not be read: Not a directory" in organization.refused()


def test_variables_of_the_framework_do_not_hide_locked_ones(organization: Organization) -> None:
    """`[framework.env]` is stronger in a sandbox, so it must not set what is locked in `[provider.env]`."""
    organization.policy("[policy]\nlocked = ['provider.env.PROXY']\n[provider]\ntype = 'plain'\nenv.PROXY = 'corp'\n")
    organization.project(UNSELECTED.replace('type = "tests"', 'type = "tests"\nenv.PROXY = "mine"'))
    refused = organization.refused()
    assert "project/offload.toml" in refused
    assert "framework.env.PROXY: it would hide provider.env.PROXY, which is locked by the policy" in refused
    organization.project(UNSELECTED.replace('type = "tests"', 'type = "tests"\nenv.PROXY = "corp"'))
    assert organization.load().config.framework.env == {"PROXY": "corp"}
