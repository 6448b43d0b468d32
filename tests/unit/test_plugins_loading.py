"""Plugins are loaded by name, one at a time, and whatever is wrong with one is said."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from offload_core.abc import Provider
from offload_core.errors import PluginError
from offload_core.plugins import FRAMEWORKS, PROVIDERS, Plugin, installed, load_framework_class, load_provider_class

PROVIDER = """
import attrs
from offload_core.abc import Provider

@attrs.frozen
class Options:
    pass

class Toy(Provider):
    contract = 2
    Options = Options
    async def create(self, spec): ...
    def attach(self, ref): ...
    async def list(self, run_id=None): ...
"""


def provides(**targets: str) -> Mapping[str, Mapping[str, str]]:
    """Entry points of providers."""
    return {PROVIDERS: targets}


def found(name: str) -> Plugin:
    """What the listing says about one provider."""
    return next(plugin for plugin in installed(PROVIDERS) if plugin.name == name)


def test_a_provider_is_loaded_by_name(distributions: Any) -> None:
    """The class behind the entry point comes back as it is."""
    distributions.add("offload-toy", provides(toy="toy_plain:Toy"), {"toy_plain": PROVIDER})
    loaded = load_provider_class("toy")
    assert issubclass(loaded, Provider)
    assert loaded.__module__ == "toy_plain"


def test_loading_one_imports_no_other(distributions: Any) -> None:
    """A run on one provider must not import another one's SDK."""
    distributions.add("offload-toy", provides(toy="toy_chosen:Toy"), {"toy_chosen": PROVIDER})
    distributions.add("offload-other", provides(other="toy_other:Toy"), {"toy_other": PROVIDER})
    load_provider_class("toy")
    assert "toy_chosen" in sys.modules
    assert "toy_other" not in sys.modules


def test_a_broken_neighbour_does_no_harm(distributions: Any) -> None:
    """A package that does not import is nobody's problem but of those who use it."""
    distributions.add("offload-toy", provides(toy="toy_fine:Toy"), {"toy_fine": PROVIDER})
    distributions.add("offload-broken", provides(broken="toy_raises:Toy"), {"toy_raises": "1 / 0"})
    load_provider_class("toy")
    assert found("toy") == Plugin(name="toy", target="toy_fine:Toy", distribution="offload-toy", version="1.0")
    broken = found("broken")
    assert (broken.distribution, broken.version) == ("offload-broken", "1.0")
    assert "ZeroDivisionError: division by zero" in broken.error


@pytest.mark.parametrize(
    ("source", "cause"),
    [("1 / 0", ZeroDivisionError), ("import no_such_sdk", ModuleNotFoundError), ("raise SystemExit(2)", SystemExit)],
)
def test_an_import_that_fails_is_wrapped_with_its_cause(distributions: Any, source: str, cause: type) -> None:
    """The message names the plugin and its distribution, the cause is what its package raised."""
    distributions.add("offload-bad", provides(bad="toy_bad:Toy"), {"toy_bad": source})
    with pytest.raises(PluginError, match=r"provider 'bad' of offload-bad 1\.0 does not load") as raised:
        load_provider_class("bad")
    assert isinstance(raised.value.__cause__, cause)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Toy: pass", r"not a subclass of offload_core\.abc\.Provider"),
        ("Toy = 0", r"not a subclass of offload_core\.abc\.Provider"),
        ("from offload_core.abc import Provider\nclass Toy(Provider): pass", "does not implement attach, create, list"),
        (PROVIDER.replace("    Options = Options", ""), "has no attrs class `Options`"),
    ],
)
def test_what_is_no_provider_is_refused(distributions: Any, source: str, words: str) -> None:
    """An object that does not keep the contract is refused when it is loaded, not in the middle of a run."""
    distributions.add("offload-odd", provides(odd="toy_odd:Toy"), {"toy_odd": source})
    with pytest.raises(PluginError, match=words):
        load_provider_class("odd")
    assert found("odd").error


def test_two_that_claim_one_name_are_an_error_naming_both(distributions: Any) -> None:
    """Which one is used must not depend on the order of directories."""
    distributions.add("offload-first", provides(twin="toy_first:Toy"), {"toy_first": PROVIDER}, version="1.1")
    distributions.add("offload-second", provides(twin="toy_second:Toy"), {"toy_second": PROVIDER}, version="2.2")
    with pytest.raises(PluginError, match=r"offload-first 1\.1 .* and offload-second 2\.2 .*uninstall one"):
        load_provider_class("twin")
    twins = [plugin for plugin in installed(PROVIDERS) if plugin.name == "twin"]
    assert [plugin.distribution for plugin in twins] == ["offload-first", "offload-second"]
    assert all("claimed by" in plugin.error for plugin in twins)


def test_a_name_that_is_not_installed_lists_what_is(distributions: Any) -> None:
    """The error has the installed names, the nearest one, and the conventional package to install."""
    distributions.add("offload-toyland", provides(toyland="toy_land:Toy"), {"toy_land": PROVIDER})
    with pytest.raises(PluginError) as raised:
        load_provider_class("toyand")
    message = str(raised.value)
    assert "'toyand' is not installed; did you mean 'toyland'?" in message
    assert "toyland" in message.partition("Installed providers:")[2]
    assert message.endswith("pip install offload-toyand")


def test_the_package_of_older_configurations_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`type = "default"` is what they say, and no package is called that."""
    monkeypatch.setattr("offload_core.plugins._entries", lambda namespace: [])
    with pytest.raises(PluginError) as raised:
        load_provider_class("default")
    assert str(raised.value).endswith("pip install offload-command")


def test_no_command_is_suggested_for_what_no_package_is_called() -> None:
    """A name with other characters cannot be a distribution's."""
    with pytest.raises(PluginError) as raised:
        load_provider_class("Not A Name; rm -rf")
    assert "pip install" not in str(raised.value)


def test_an_unknown_framework_lists_frameworks(distributions: Any) -> None:
    """The namespaces are apart: a provider's name is not offered for a framework."""
    distributions.add("offload-toy", provides(toy="toy_apart:Toy"), {"toy_apart": PROVIDER})
    with pytest.raises(PluginError) as raised:
        load_framework_class("toy")
    assert "the framework 'toy' is not installed" in str(raised.value)
    assert "toy" not in str(raised.value).partition("Installed frameworks:")[2]
    assert all(plugin.name != "toy" for plugin in installed(FRAMEWORKS))


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        ("3", r"made for version 3 of the contracts, and offload-core \S+ has 2: upgrade offload-core"),
        ("1", r"made for version 1 of the contracts, and offload-core \S+ keeps none before 2: upgrade the package"),
        ("'1'", "its `contract` is '1', and must be a whole number"),
    ],
)
def test_a_version_of_the_contracts_that_cannot_be_used_is_refused(
    distributions: Any, contract: str, words: str
) -> None:
    """When it is loaded, for providers and frameworks alike, with what to upgrade."""
    source = PROVIDER.replace("contract = 2", f"contract = {contract}")
    distributions.add("offload-later", provides(later="toy_later:Toy"), {"toy_later": source})
    with pytest.raises(PluginError, match=words):
        load_provider_class("later")
