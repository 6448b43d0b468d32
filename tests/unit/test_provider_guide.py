"""The guide for authors of providers is whole: nobody has to look at the source for what it leaves out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from offload_core import abc, errors, kit
from offload_core.abc import Command, Context, PrepareRequest, Process, Provider, Sandbox, SandboxRef, SandboxSpec
from offload_core.cli.conformance import command as conformance
from offload_core.testing import ProviderConformance

DOCS = Path(__file__).parents[2] / "docs"
PAGES = DOCS / "providers"
EXAMPLE = DOCS / "examples" / "offload-example" / "offload_example" / "__init__.py"


def page(name: str) -> str:
    """The text of one page."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", [Provider, Sandbox, Process])
def test_every_method_is_told(cls: type) -> None:
    """By its name, in the page of all methods; those that are abstract as such."""
    text = page("methods")
    names = [name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")]
    assert [name for name in names if not re.search(rf"`{name}\(|def {name}\(", text)] == []
    abstract: frozenset[str] = getattr(cls, "__abstractmethods__", frozenset())
    assert [name for name in abstract if not re.search(rf"`{name}\(.*\)` — \*\*abstract\*\*", text)] == []


@pytest.mark.parametrize("cls", [Context, SandboxSpec, SandboxRef, PrepareRequest, Command])
def test_every_field_of_what_the_core_hands_in_is_told(cls: type) -> None:
    """What a provider gets is described where it gets it."""
    text = page("methods")
    assert [field.name for field in attrs.fields(cls) if f"`{field.name}" not in text] == []


def test_every_error_is_told_with_whether_it_is_retried() -> None:
    """As its class declares it."""
    kinds = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.ProviderError)]
    rows = [line for line in page("methods").splitlines() if line.startswith("| `")]
    for cls in kinds:
        if cls is errors.ProviderError:
            continue
        (row,) = [line for line in rows if f"`{cls.__name__}`" in line]
        assert row.endswith("| yes |") == cls.retryable, row


def test_every_check_and_option_is_told() -> None:
    """Each check belongs to a row of the table, by its name or the beginning or end of it; each option has a row."""
    text = page("testing")
    patterns = re.findall(r"`([a-z_…]+)`", text[text.index("## What is checked") : text.index("## What else")])
    known = re.compile("|".join(pattern.replace("…", ".*") for pattern in patterns))
    checks = [name.removeprefix("test_") for name in dir(ProviderConformance) if name.startswith("test_")]
    assert [check for check in checks if not known.fullmatch(check)] == []
    flags = [flag for option in conformance.params for flag in option.opts if option.name not in ("config", "color")]
    assert [flag for flag in flags if flag.startswith("--") and flag not in text and flag != "--version"] == []


def test_the_version_of_the_contracts_is_told() -> None:
    """The page on how they evolve names the one that this is."""
    assert f"This is version {abc.CONTRACT}." in page("versions")


@pytest.mark.parametrize(
    ("door", "pages"),
    [(abc, ["providers/contract", "frameworks"]), (kit, ["providers/kit"])],
    ids=["abc", "kit"],
)
def test_every_public_name_is_in_the_reference(door: ModuleType, pages: list[str]) -> None:
    """And nothing else is."""
    texts = "".join((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in pages)
    parts = re.split(r"^\.\. currentmodule:: (\S+)$", texts, flags=re.MULTILINE)
    listed = [
        name
        for module, text in zip(parts[1::2], parts[2::2], strict=True)
        if module == door.__name__
        for name in re.findall(r"^\.\. auto(?:class|function|data):: (\w+)$", text, re.MULTILINE)
    ]
    public = [name for name, value in vars(door).items() if not name.startswith("_") and not inspect.ismodule(value)]
    assert sorted(listed) == sorted(public)


def test_the_example_is_small_enough_to_read() -> None:
    """A whole provider in at most 100 lines of code."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 100
