"""The gate: what is locked keeps its value, whoever tries to set it, wherever from and by whatever name."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from typing_extensions import override

from offload_core.config.documents import Document
from offload_core.config.gate import IMPLICATIONS
from offload_core.config.keys import dotted
from offload_core.config.layers import from_flag
from offload_core.config.loading import Loaded
from offload_core.errors import ConfigError
from tests.support.organization import Organization, an_organization

PROJECT = ("offload.runner = 'mine'", "framework.type = 'tests'", "groups.all = {}")
MINE = "runners.mine.extends = 'base'"

VALUES = {
    "offload.max_parallel": ("3", "50"),
    "offload.hedge": ("true", "false"),
    "offload.impatiently_requeue_batches": ("true", "false"),
    "offload.sandbox_repo_root": ("'/a'", "'/b'", "''"),
    "offload.sandbox_project_root": ("'/a'", "'/b'", "''"),
    "offload.sandbox_init_cmd": ("'make'", "'make all'"),
    "provider.machine": ("'m1'", "'m2'"),
    "provider.kind": ("'m1'", "'m2'"),
    "provider.env.A": ("'1'", "'2'", "'${ONE}'"),
    "provider.env.B": ("'1'", "'2'"),
    "framework.env.A": ("'1'", "'2'"),
    "framework.env.B": ("'1'", "'2'"),
    "retry.attempts": ("3", "5"),
    "report.output_dir": ("'here'", "'there'"),
    "history.path": ("'here'", "'there'"),
}
LOCKED = (*VALUES, "provider", "provider.env", "framework.env", "retry", "report", "history")
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "--env": ({"A": "1"}, {"A": "2"}, {"B": "2", "C": "3"}),
    "--copy-dir": (("a:b",),),
    "--override-image-id": ("image",),
}
ENVIRONMENT = {"ONE": "1"}


@pytest.fixture
def organization(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch) -> Organization:
    """With neither runners nor a policy."""
    made = an_organization(tmp_path, distributions, monkeypatch)
    made.environ.update(ENVIRONMENT)
    return made


@frozen
class Attempt:
    """Values that are set from one source each."""

    file: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    overrides: tuple[Document, ...] = ()
    variables: Mapping[str, str] = field(factory=dict)


def seen(loaded: Loaded, overrides: tuple[Document, ...] = ()) -> dict[str, Any]:
    """What comes of a configuration in the end, under the keys that it belongs to."""
    config = loaded.config
    given = {name: value for each in overrides for name, value in each.values.items()}
    env = {**config.provider.options.env, **given.get("--env", {}), **config.framework.env}
    image = given.get("--override-image-id")
    return {
        "offload.max_parallel": config.offload.max_parallel,
        "offload.hedge": config.offload.hedge,
        "offload.sandbox_repo_root": config.offload.sandbox_repo_root or None,
        "offload.sandbox_project_root": config.offload.sandbox_project_root or None,
        "offload.sandbox_init_cmd": (config.offload.sandbox_init_cmd, image),
        "provider.machine": (config.provider.options.machine, image),
        "provider.copy_dirs": (given.get("--copy-dir"), image),
        **{f"provider.env.{name}": env.get(name) for name in "ABC"},
        **{f"framework.env.{name}": config.framework.env.get(name) for name in "ABC"},
        "retry.attempts": config.retry.attempts,
        "report.output_dir": config.report.output_dir,
        "history.path": config.history.path if config.history else None,
    }


def randomly_locked(organization: Organization, dice: random.Random) -> list[str]:
    """A policy or a runner that locks some keys and sets some; returns what it locks, in today's names."""
    by_policy = dice.random() < 0.5
    # a policy that locks all of it also locks the choice of a runner, which is made here
    locked = dice.sample(LOCKED if by_policy else (*LOCKED, "offload"), dice.randint(1, 3))
    # whoever hides what it locks itself is not protected from others who no longer do
    own = [line for line in some(dice, dice.randint(0, 4)) if not line.startswith("framework.env.")]
    base = ["provider.type = 'cloud'", *own]
    (organization.directory / "policy.toml").unlink(missing_ok=True)
    if by_policy:
        organization.policy("\n".join([f"policy.locked = {locked}", *base]))
        organization.system("[runners.base]")
    else:
        organization.system("\n".join(f"runners.base.{line}" for line in [f"locked = {locked}", *base]))
    today = {"offload.impatiently_requeue_batches": "offload.hedge", "provider.kind": "provider.machine"}
    return [today.get(each, each) for each in locked]


def randomly_tried(dice: random.Random) -> Attempt:
    """One to three values, each from any source."""
    file, runner = list[str](), list[str]()
    overrides, variables = dict[str, Document](), dict[str, str]()
    for line in some(dice, dice.randint(1, 3)):
        key, _, value = line.partition(" = ")
        match dice.randrange(5):
            case 0:
                file.append(line)
            case 1:
                runner.append(line)
            case 2:
                overrides[key] = from_flag(key, tomllib.loads(line.replace(key, "value"))["value"], "--flag")
            case 3:
                table, *rest = key.split(".")
                names = [table.upper(), *(part.upper() if part not in "AB" else part for part in rest)]
                variables["OFFLOAD_" + "__".join(names)] = value.strip("'")
            case _:
                option = dice.choice(list(OPTIONS))
                overrides[option] = from_flag(option, dice.choice(OPTIONS[option]), option)
    return Attempt(tuple(file), tuple(runner), tuple(overrides.values()), variables)


def some(dice: random.Random, count: int) -> list[str]:
    """Lines that set some keys, none of them twice by another name."""
    keys = dice.sample(list(VALUES), count)
    if "provider.kind" in keys and "provider.machine" in keys:
        keys.remove("provider.kind")
    return [f"{key} = {dice.choice(VALUES[key])}" for key in keys]


def tried(organization: Organization, attempt: Attempt) -> Loaded:
    """What is loaded with the attempt."""
    lines = [*PROJECT, *attempt.file, MINE, *(f"runners.mine.{each}" for each in attempt.runner)]
    organization.project("\n".join(lines))
    return organization.load(*attempt.overrides, **attempt.variables)


@pytest.mark.parametrize("seeds", [range(start, start + 30) for start in range(0, 300, 30)], ids=str)
def test_what_is_locked_keeps_its_value(organization: Organization, seeds: range) -> None:
    """Random locks, random attempts: either one is refused for a lock, or what is locked is as if none were made."""
    for seed in seeds:
        dice = random.Random(seed)
        locked = randomly_locked(organization, dice)
        before = after = seen(tried(organization, Attempt()))
        attempt = randomly_tried(dice)
        refused: list[str] = []
        try:
            after = seen(tried(organization, attempt), attempt.overrides)
        except ConfigError as error:
            refused = str(error).splitlines()
        changed = {key for key in before if before[key] != after[key]}
        lost = [key for key in changed for lock in locked if f"{key}.".startswith(f"{lock}.")]
        assert (seed, lost) == (seed, [])
        assert (seed, [line for line in refused if " locked by " not in line]) == (seed, [])


@frozen
class Case:
    """A value that decides a locked key by another one's name.

    Attributes:
        lock: the key that is locked, at its default if the locker sets nothing.
        key: what is set instead.
        says: what is said of it, between the place and the lock.
        harmless: a value that changes nothing.
    """

    lock: str
    key: str
    value: Any
    says: str
    kept: str = ""
    harmless: Any = None

    @override
    def __str__(self) -> str:
        return f"{self.key}={self.value!r} where {self.lock} is locked, {self.kept or 'unset'}"


HIDES = "framework.env.A: it would hide provider.env.A, which is"
KEYS = (
    Case("provider.env.A", "framework.env.A", "2", HIDES),
    Case("provider.env.A", "framework.env.A", "2", HIDES, "provider.env.A = '1'", "1"),
    Case("provider.env.A", "framework.env.A", "2", HIDES, "provider.env.A = '${ONE}'", "1"),
    Case("provider.env.A", "framework.env.A", "${ONE}", HIDES, "provider.env.A = '${ONE}'", "1"),
    Case("provider.env.A", "framework.env.A", "2", HIDES, "framework.env.A = '1'", "1"),
    Case("provider", "framework.env.A", "2", HIDES),
    *(
        Case(
            f"offload.{root}",
            f"offload.{other}",
            value,
            f"offload.{other}: it would also set offload.{root}, which is",
            *kept,
        )
        for root, other in (
            ("sandbox_project_root", "sandbox_repo_root"),
            ("sandbox_repo_root", "sandbox_project_root"),
        )
        for value, *kept in (
            ("/b", "", ""),
            ("/b", f"offload.{other} = '/a'", "/a"),
            ("", f"offload.{other} = '/a'", "/a"),
        )
    ),
)
OPTIONS_OF_COMMANDS = (
    Case("provider.env.A", "--env", {"A": "2"}, "--env A: provider.env.A:", "provider.env.A = '${ONE}'", {"A": "1"}),
    Case("provider.env", "--env", {"A": "2"}, "--env A: provider.env.A:", "provider.env.B = '1'", {"B": "1"}),
    Case("provider.copy_dirs", "--copy-dir", ("a:b",), "--copy-dir: provider.copy_dirs:"),
    Case("provider", "--copy-dir", ("a:b",), "--copy-dir: provider.copy_dirs:"),
    Case("provider", "--override-image-id", "x", "--override-image-id: provider:"),
    Case("provider.machine", "--override-image-id", "x", "--override-image-id: provider.machine:"),
    *(
        Case(key, "--override-image-id", "x", f"--override-image-id: {key}:")
        for key in ("offload.sandbox_init_cmd", "offload.post_patch_cmd")
    ),
)


def test_every_implication_has_cases() -> None:
    """Whoever declares another one adds cases here."""
    cases = {(case.key, case.lock) for case in (*KEYS, *OPTIONS_OF_COMMANDS)}
    for each in IMPLICATIONS:
        begins = f"{dotted(each.key)}.", f"{dotted(each.decides)}."
        assert [case for case in cases if all(map(str.startswith, (f"{part}." for part in case), begins))]


WHERE = {
    "file": "project/offload.toml:1: ",
    "other file": "elsewhere/other.toml:1: ",
    "project's runner": "project/offload.toml:2: ",
    "package's runner": "mine.toml:2: ",
    "system's runner": "system/offload/runners.toml:2: ",
    "user's runner": "user/offload/runners.toml:2: ",
    "OFFLOAD_RUNNERS": "named.toml:2: ",
    "variable": "OFFLOAD_",
    "variable with a table": "OFFLOAD_",
    "flag": "--flag: ",
}
"""What a value can be set by, and what is said of the place."""


def locking(organization: Organization, case: Case, by: str) -> None:
    """The lock of a case (`by` a policy, a runner or nobody), and a project with a runner that extends that one."""
    own = ["provider.type = 'cloud'", *filter(None, [case.kept])]
    policy = organization.policy("\n".join([f"policy.locked = ['{case.lock}']", *own]))
    locked = [f"locked = ['{case.lock}']"] if by == "runner" else []
    base = "\n".join(f"runners.base.{line}" for line in [*locked, *own])
    if by == "policy":
        base = "[runners.base]"
    else:
        policy.unlink()
    organization.package("acme", base, "base")
    organization.project("\n".join([*PROJECT, MINE]))


def setting(organization: Organization, source: str, key: str, value: str) -> Loaded:
    """What is loaded when a key is set from there."""
    table, name, *rest = key.split(".")
    line = f"{key} = '{value}'"
    mine = f"{MINE}\nrunners.mine.{line}\n"
    selected = "\n".join(PROJECT)
    overrides, variables = list[Document](), dict[str, str]()
    match source:
        case "file":
            organization.project("\n".join([line, *PROJECT, MINE]))
        case "other file":
            organization.file = organization.write("elsewhere/other.toml", "\n".join([line, *PROJECT, MINE]))
        case "project's runner":
            organization.project(mine + selected)
        case "package's runner":
            organization.project(selected)
            installed = organization.distributions.directory / "mine.toml"
            if not installed.exists():
                organization.package("mine", "", "mine")
            installed.write_text(mine, encoding="utf-8")
        case "system's runner" | "user's runner":
            organization.project(selected)
            organization.write(f"{source.split()[0][:-2]}/offload/runners.toml", mine)
        case "OFFLOAD_RUNNERS":
            organization.project(selected)
            variables[source] = str(organization.write("named.toml", mine))
        case "variable with a table" if rest:
            variables[f"OFFLOAD_{table}__{name}".upper()] = f"{{ {rest[0]} = '{value}' }}"
        case "flag":
            overrides.append(from_flag(key, value, "--flag"))
        case _:
            variables["__".join([f"OFFLOAD_{table}__{name}".upper(), *rest])] = value
    return organization.load(*overrides, **variables)


@pytest.mark.parametrize(
    ("source", "by"), [*((each, "policy") for each in WHERE), ("file", "runner"), ("project's runner", "runner")]
)
@pytest.mark.parametrize("case", KEYS, ids=str)
def test_no_source_decides_a_locked_key_by_another(
    organization: Organization, case: Case, source: str, by: str
) -> None:
    """What is declared for a value holds wherever it is from; the place is said, and what it would do.

    What changes nothing of what is locked is welcome from everywhere.
    """
    locking(organization, case, by)
    if case.harmless is not None:
        setting(organization, source, case.key, case.harmless)
    with pytest.raises(ConfigError) as refused:
        setting(organization, source, case.key, case.value)
    [said] = str(refused.value).splitlines()
    assert WHERE[source] in said
    assert f": {case.says} locked by the {by}" in said


@pytest.mark.parametrize("source", ["variable", "user's runner"])
@pytest.mark.parametrize("case", KEYS, ids=str)
def test_nothing_is_refused_where_nothing_is_locked(organization: Organization, case: Case, source: str) -> None:
    """The same values, from the same sources."""
    locking(organization, case, "nobody")
    setting(organization, source, case.key, case.value)


@pytest.mark.parametrize("by", ["policy", "runner"])
@pytest.mark.parametrize("case", OPTIONS_OF_COMMANDS, ids=str)
def test_no_option_of_a_command_decides_a_locked_key(organization: Organization, case: Case, by: str) -> None:
    """One that is no key itself: refused where it would change what is locked, and without effect on what is loaded."""
    locking(organization, case, by)
    with pytest.raises(ConfigError) as refused:
        organization.load(from_flag(case.key, case.value, case.key))
    assert str(refused.value).startswith(f"{case.says} locked by the {by}")
    plain = organization.load()
    if case.harmless is not None:
        assert organization.load(from_flag(case.key, case.harmless, case.key)).config == plain.config


def test_both_ways_around_are_said_at_once(organization: Organization) -> None:
    """One message names every attempt, from every source, and definitions that must not be."""
    organization.policy("policy.locked = ['provider.env', 'retry']\nprovider.type = 'cloud'\n[runners.large]\n")
    organization.system("[runners.large]\n")
    organization.project(
        "\n".join(["offload.runner = 'large'", "framework.env.A = '1'", "retry.attempts = 7", *PROJECT[1:]])
    )
    said = organization.refused(from_flag("--env", {"B": "2"}, "--env"), OFFLOAD_PROVIDER__ENV__C="3")
    assert [line.partition(": ")[0] for line in said.splitlines()] == [
        "system/offload/runners.toml:1",
        "project/offload.toml:2",
        "project/offload.toml:3",
        "OFFLOAD_PROVIDER__ENV__C",
        "--env B",
    ]


def test_a_runner_can_lock_the_table_that_selects_it(organization: Organization) -> None:
    """`offload.runner` is not locked with it: the project's choice stays, and is seen."""
    organization.system("[runners.mine]\nlocked = ['offload']\nprovider.type = 'cloud'\n")
    organization.project("\n".join(PROJECT))
    loaded = organization.load()
    assert loaded.config.offload.runner == "mine"
    assert str(loaded.provenance["offload.runner"]).endswith("project/offload.toml:1")
