"""A configuration file, and all that is laid over it, becomes a typed `Config`, or an error that says where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from offload_core.config.documents import Document
from offload_core.config.keys import Layer
from offload_core.config.layers import from_flag
from offload_core.config.loading import Loaded, load, parse
from offload_core.errors import ConfigError, PluginError
from offload_core.plugins import FRAMEWORKS, PROVIDERS, load_provider_class

PLUGINS = """
import attrs
from collections.abc import Mapping
from typing import Literal
from offload_core.abc import Framework, Provider, key

@attrs.frozen(kw_only=True)
class Nested:
    depth: int = 0

@attrs.frozen(kw_only=True)
class Options:
    env: Mapping[str, str] = key({}, "variables")
    isolation: Literal["none", "copy"] = key("none", "how")
    memory_gb: float | None = key(None, "memory")
    sizes: tuple[int, ...] = key((), "sizes")
    nested: Nested = attrs.field(factory=Nested)
    anything: object = key(None, "anything")
    old: str = key("", "dead", inert="nobody needs it any more")
    cores: float = key(1.0, "cores", validator=attrs.validators.gt(0))

class Toy(Provider):
    contract = 2
    Options = Options
    needs_sandbox_root = False
    async def create(self, spec): ...
    def attach(self, ref): ...
    async def list(self, run_id=None): ...

class Remote(Toy):
    needs_sandbox_root = True

@attrs.frozen(kw_only=True)
class FrameworkOptions:
    command: str | list[str] = "test"
    required: str = attrs.field()

class Plain(Framework):
    contract = 2
    Options = attrs.make_class("PlainOptions", {"command": attrs.field(default="test", type=str)}, frozen=True)
    def discover(self, group, launch): ...
    async def open(self, launch, collection): ...

class Demanding(Plain):
    Options = FrameworkOptions
"""

HEAD = '[offload]\n{offload}\n[provider]\ntype = "toy"\n{provider}\n[framework]\ntype = "plain"\n{framework}\n'


@pytest.fixture(autouse=True)
def plugins(distributions: Any) -> None:
    """Two providers and two frameworks, so that these tests need none that is real."""
    entry_points = {
        PROVIDERS: {"toy": "toy_config:Toy", "remote": "toy_config:Remote"},
        FRAMEWORKS: {"plain": "toy_config:Plain", "demanding": "toy_config:Demanding"},
    }
    distributions.add("offload-toy", entry_points, {"toy_config": PLUGINS})


def document(
    offload: str = "", provider: str = "", framework: str = "", rest: str = "", groups: str = "[groups.all]"
) -> str:
    """A configuration with these lines in its tables. `offload` starts in line 2, `provider` in line 5."""
    return HEAD.format(offload=offload, provider=provider, framework=framework) + f"{groups}\n{rest}\n"


def parsed(text: str, *overrides: Document, **environ: str) -> Loaded:
    """The text, as a file `offload.toml`."""
    return parse(text, Path("offload.toml"), environ=environ, overrides=overrides)


def refused(text: str, *overrides: Document, **environ: str) -> str:
    """The message of the error that the text gives."""
    with pytest.raises((ConfigError, PluginError)) as raised:
        parsed(text, *overrides, **environ)
    return str(raised.value)


def test_defaults_hold_where_nothing_is_said() -> None:
    """The smallest configuration has every default of the tables, also of those it does not have."""
    config = parsed(document()).config
    assert (config.offload.max_parallel, config.offload.test_timeout_secs, config.offload.hedge) == (10, 900.0, True)
    assert (config.report.output_dir, config.report.junit) == ("test-results", True)
    assert config.groups["all"].retry_count == 0
    assert (config.checkpoint, config.history) == (None, None)


def test_values_are_typed() -> None:
    """Lists become tuples, whole numbers are accepted for floats, plugins' options are their own classes."""
    text = document(
        'test_timeout_secs = 60\nsecrets = ["A"]',
        'memory_gb = 4\nsizes = [1, 2]\nisolation = "copy"\nnested = { depth = 3 }\nanything = { a = [1] }',
        'env = { A = "1" }\ndiscover_in = "sandbox"',
    )
    config = parsed(text).config
    assert config.offload.test_timeout_secs == 60.0
    assert isinstance(config.offload.test_timeout_secs, float)
    assert config.offload.secrets == ("A",)
    options = config.provider.options
    assert (options.memory_gb, options.sizes, options.isolation) == (4.0, (1, 2), "copy")
    assert options.nested.depth == 3
    assert options.anything == {"a": [1]}
    assert (config.framework.env, config.framework.discover_in) == ({"A": "1"}, "sandbox")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            document('max_parallel = "ten"'),
            'offload.toml:2: offload.max_parallel: expected an integer, found "ten" (a string)',
        ),
        (
            document("max_parallel = true"),
            "offload.toml:2: offload.max_parallel: expected an integer, found true (a boolean)",
        ),
        (
            document("max_parallel = 1.5"),
            "offload.toml:2: offload.max_parallel: expected an integer, found 1.5 (a number)",
        ),
        (
            document("test_timeout_secs = true"),
            "offload.toml:2: offload.test_timeout_secs: expected a number, found true (a boolean)",
        ),
        (
            document("hedge = 1"),
            "offload.toml:2: offload.hedge: expected true or false, found 1 (an integer)",
        ),
        (
            document('secrets = "A"'),
            'offload.toml:2: offload.secrets: expected a list, found "A" (a string)',
        ),
        (
            document("", "sizes = [\n  1,\n  'x',\n]"),
            'offload.toml:7: provider.sizes[1]: expected an integer, found "x" (a string)',
        ),
        (
            document("", "env.A = 1"),
            "offload.toml:5: provider.env.A: expected a string, found 1 (an integer)",
        ),
        (
            document("", 'isolation = "cpy"'),
            "offload.toml:5: provider.isolation: expected one of 'none', 'copy' (did you mean 'copy'?), "
            'found "cpy" (a string)',
        ),
        (
            document("", 'nested = { depth = "x" }'),
            'offload.toml:5: provider.nested.depth: expected an integer, found "x" (a string)',
        ),
        (
            document("", "cores = 0"),
            "offload.toml:5: provider.cores: must be > 0: 0.0",
        ),
        (
            document("max_parallel = 0"),
            "offload.toml:2: offload.max_parallel: must be >= 1: 0",
        ),
        (
            document(groups='[groups."slow tests"]\nfilters = "-m \'x"'),
            'offload.toml:10: groups."slow tests".filters: cannot be split into words: No closing quotation',
        ),
        (
            document(rest='[report]\njunit_file = "../junit.xml"'),
            "offload.toml:11: report.junit_file: must name a file in the output directory: '../junit.xml'",
        ),
        (
            document(rest="report = 3", groups="[groups]\nall = {}").replace("[offload]", "retry = 3\n[offload]"),
            "offload.toml:1: retry: expected a table, found 3 (an integer)",
        ),
        (
            document("", "", 'discover_in = "cloud"'),
            "offload.toml:8: framework.discover_in: expected one of 'host', 'sandbox', found \"cloud\" (a string)",
        ),
        (
            document(rest='[history]\nrecord_history = "no"'),
            "offload.toml:11: history.record_history: expected one of 'flag', 'always', found \"no\" (a string)",
        ),
        (
            document().replace('"plain"', '"demanding"'),
            "offload.toml:6: framework.required: required, but not set",
        ),
    ],
)
def test_a_wrong_value_names_key_file_and_line(text: str, message: str) -> None:
    """The dotted key, where it stands, what was expected and what was found."""
    assert refused(text) == message


def test_what_is_wrong_with_a_secret_does_not_show_it() -> None:
    """Only what kind of value was found."""
    message = refused(document("", "env.API_TOKEN = 12345678"))
    assert message == "offload.toml:5: provider.env.API_TOKEN: expected a string, found an integer"


def test_all_problems_are_told_at_once() -> None:
    """Nobody has to start Offload once for each mistake."""
    message = refused(document("max_parallel = 0\nhedge = 3", "memory_gb = 'x'"))
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "offload.hedge",
        "provider.memory_gb",
    ]
    assert len(refused(document("hedge = 3", "memory_gb = 'x'", "command = 1")).splitlines()) == 3


@pytest.mark.parametrize("name", ["offload", "provider", "framework"])
def test_a_missing_table_is_named(name: str) -> None:
    """The four tables that every configuration has are asked for by name."""
    tables = {"offload": "", "provider": 'type = "toy"', "framework": 'type = "plain"', "groups.all": ""}
    text = "".join(f"[{table}]\n{lines}\n" for table, lines in tables.items() if table != name)
    message = refused(text)
    assert f"offload.toml: missing [{name}]" in message
    assert "[offload], [provider], [framework], [groups]" in message


@pytest.mark.parametrize("groups", ["", "[groups]"])
def test_no_groups_is_an_error_with_an_example(groups: str) -> None:
    """Missing and empty alike; what is to be written is shown."""
    message = refused(document(groups=groups))
    assert "must define at least one group" in message
    assert "[groups.all]" in message


def test_a_group_that_is_no_table_shows_how_one_looks() -> None:
    """`[groups]` with settings in it is an easy mistake."""
    message = refused(document(groups="[groups]\nretry_count = 1"))
    assert message.startswith("offload.toml:10: groups.retry_count: expected a table, found 1 (an integer)")
    assert "[groups.all]" in message


@pytest.mark.parametrize(("table", "where"), [("provider", "offload.toml:4"), ("framework", "offload.toml:7")])
def test_an_unknown_plugin_is_told_with_its_place(table: str, where: str) -> None:
    """File, line and key come before what `plugins` has to say."""
    old = {"provider": '"toy"', "framework": '"plain"'}[table]
    message = refused(document().replace(old, '"nope"'))
    assert message.startswith(f"{where}: {table}.type: the {table} 'nope' is not installed")


def test_a_plugin_type_is_required() -> None:
    """The message says how to find out which there are."""
    message = refused(document().replace('type = "toy"', ""))
    assert message == "offload.toml:3: provider.type: required, but not set (`offload providers` lists the providers)"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[offload", "offload.toml:1:9"),
        ("[offload]\nx = 1\nx = 2\n", "offload.toml:3:"),
        ("a = \n", "offload.toml:1:5"),
    ],
)
def test_malformed_toml_has_file_line_and_column(text: str, where: str) -> None:
    """Where the parser stopped, and what it said."""
    message = refused(text)
    assert message.startswith(where)
    assert "not valid TOML" in message


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """The command that writes one, and the option that names another."""
    with pytest.raises(ConfigError, match=r"no configuration file .*nope\.toml: `offload init` .*`-c FILE`"):
        load(tmp_path / "nope.toml")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """A directory, and bytes that are not UTF-8."""
    with pytest.raises(ConfigError, match="could not be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_an_unknown_key_is_one_warning_with_the_nearest_name() -> None:
    """In the core's tables, in a plugin's, nested, and at the top; each once, with its place."""
    loaded = parsed(document("max_paralel = 1", "isolaton = 'x'", "zzz = 1", "[reprot]\nx = 1"))
    assert loaded.warnings == (
        "Ignoring unrecognized config key: reprot (offload.toml:10; did you mean report?)",
        "Ignoring unrecognized config key: offload.max_paralel (offload.toml:2; did you mean max_parallel?)",
        "Ignoring unrecognized config key: provider.isolaton (offload.toml:5; did you mean isolation?)",
        "Ignoring unrecognized config key: framework.zzz (offload.toml:8)",
    )


def test_dead_keys_of_real_configurations_only_warn() -> None:
    """What existing files carry must not stop a run."""
    loaded = parsed(document("retry_count = 3\nmax_batch_duration_secs = 60\nstream_output = true"))
    assert len(loaded.warnings) == 3
    assert all(each.startswith("Ignoring unrecognized config key: offload.") for each in loaded.warnings)


def test_inert_keys_warn_when_they_are_set() -> None:
    """A key that is accepted and does nothing says so; a table of such keys once."""
    text = document("", 'old = "x"', rest='[checkpoint]\nbuild_inputs = ["x"]\n')
    assert parsed(text).warnings == (
        "provider.old has no effect: nobody needs it any more (offload.toml:5)",
        "checkpoint has no effect: image checkpoints are not supported yet (offload.toml:10)",
    )
    assert parsed(document()).warnings == ()


def test_an_older_name_is_an_alias() -> None:
    """`impatiently_requeue_batches` sets `hedge`; its place is the place of the older name."""
    loaded = parsed(document("impatiently_requeue_batches = false"))
    assert loaded.config.offload.hedge is False
    assert loaded.warnings == ()
    assert loaded.provenance["offload.hedge"].line == 2


def test_an_older_name_covers_the_newer_one_of_a_weaker_layer() -> None:
    """What counts is the layer, not the name; within one file today's name counts."""
    text = document("hedge = true")
    assert parsed(text, OFFLOAD_OFFLOAD__IMPATIENTLY_REQUEUE_BATCHES="false").config.offload.hedge is False
    loaded = parsed(document("hedge = true\nimpatiently_requeue_batches = false"))
    assert (loaded.config.offload.hedge, loaded.provenance["offload.hedge"].line) == (True, 2)


def test_layers_cover_each_other_and_every_value_knows_its_origin() -> None:
    """Default, file, environment and flag, each stronger than the one before."""
    text = document("max_parallel = 2\nmax_parallel_collection = 3\nhedge = false")
    flag = from_flag("offload.max_parallel", 9, "--parallel")
    loaded = parsed(text, flag, OFFLOAD_OFFLOAD__MAX_PARALLEL="5", OFFLOAD_OFFLOAD__HEDGE="true")
    config = loaded.config.offload
    assert (config.max_parallel, config.max_parallel_collection, config.hedge) == (9, 3, True)
    origins = {key: str(loaded.provenance[f"offload.{key}"]) for key in ("max_parallel", "hedge", "working_dir")}
    assert origins == {"max_parallel": "--parallel", "hedge": "OFFLOAD_OFFLOAD__HEDGE", "working_dir": "default"}
    assert str(loaded.provenance["offload.max_parallel_collection"]) == "offload.toml:3"
    assert loaded.provenance["offload.max_parallel"].layer is Layer.FLAG


def test_every_key_of_every_table_has_an_origin() -> None:
    """Also those that nobody set."""
    provenance = parsed(document("", "env.A = 'x'")).provenance
    for key in ("retry.attempts", "liveness.interval_secs", "report.junit", "groups.all.filters", "provider.cores"):
        assert provenance[key].layer is Layer.DEFAULT
    for key in ("provider.type", "framework.type", "provider.env", "provider.env.A"):
        assert provenance[key].layer is Layer.FILE


@pytest.mark.parametrize(
    ("variable", "text", "read", "value"),
    [
        ("OFFLOAD_RETRY__ATTEMPTS", "7", "retry.attempts", 7),
        ("OFFLOAD_PROVIDER__ISOLATION", "copy", "provider.options.isolation", "copy"),
        ("OFFLOAD_PROVIDER__MEMORY_GB", "2", "provider.options.memory_gb", 2.0),
        ("OFFLOAD_PROVIDER__SIZES", "[1, 2]", "provider.options.sizes", (1, 2)),
        ("OFFLOAD_FRAMEWORK__COMMAND", "123", "framework.options.command", "123"),
        ("OFFLOAD_FRAMEWORK__COMMAND", '"quoted"', "framework.options.command", "quoted"),
        ("OFFLOAD_REPORT__OUTPUT_DIR", "", "report.output_dir", ""),
        ("OFFLOAD_REPORT__OUTPUT_DIR", "a\nb = 2", "report.output_dir", "a\nb = 2"),
        ("OFFLOAD_GROUPS__ALL__RETRY_COUNT", "2", "groups.all.retry_count", 2),
        ("OFFLOAD_GROUPS__SLOW_ONES__RETRY_COUNT", "2", "groups.Slow-Ones.retry_count", 2),
        ("OFFLOAD_PROVIDER__ENV__MixedCase", "1", "provider.options.env.MixedCase", "1"),
        ("OFFLOAD_PROVIDER__ENV", '{ A = "1" }', "provider.options.env.A", "1"),
    ],
)
def test_a_variable_is_read_as_the_type_of_its_key(variable: str, text: str, read: str, value: object) -> None:
    """TOML where the key wants it, text where it wants text; names of groups are found whatever their case."""
    found: Any = parsed(document(groups="[groups.all]\n[groups.Slow-Ones]"), **{variable: text}).config
    for part in read.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


def test_a_variable_names_a_plugin_as_it_names_everything() -> None:
    """With quotes or without; a table whose name has another case is not what it is for."""
    text = document().replace("[offload]", "[Provider]\nx = 1\n[offload]").replace('"toy"', '"remote"')
    for value in ("toy", '"toy"'):
        assert parsed(text, OFFLOAD_PROVIDER__TYPE=value).config.provider.type == "toy"


def test_the_classes_of_plugins_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say which keys there are before anything is laid, and are what is configured then."""
    loaded = []

    def counted(name: str) -> Any:
        loaded.append(name)
        return load_provider_class(name)

    monkeypatch.setattr("offload_core.config.assembly.load_provider_class", counted)
    assert parsed(document()).provider_class.needs_sandbox_root is False
    assert loaded == ["toy"]


def test_a_variable_that_is_wrong_is_named() -> None:
    """The message has the variable in place of a file."""
    message = refused(document(), OFFLOAD_OFFLOAD__MAX_PARALLEL="many")
    assert message == (
        'OFFLOAD_OFFLOAD__MAX_PARALLEL: offload.max_parallel: expected an integer, found "many" (a string)'
    )
    loaded = parsed(document(), OFFLOAD_OFFLOAD__MAX_PARALEL="3", OFFLOAD_ROOT="/x", OFFLOAD__X="1")
    assert loaded.warnings == (
        "Ignoring unrecognized config key: offload.max_paralel "
        "(OFFLOAD_OFFLOAD__MAX_PARALEL; did you mean max_parallel?)",
    )
    assert "groups.typo: the configuration has no such group" in refused(
        document(), OFFLOAD_GROUPS__TYPO__RETRY_COUNT="1"
    )


def test_one_root_stands_for_both() -> None:
    """Either of the two sandbox roots fills the other, and lends it its origin."""
    loaded = parsed(document('sandbox_repo_root = "/app"'))
    assert loaded.config.offload.sandbox_project_root == "/app"
    assert loaded.provenance["offload.sandbox_project_root"].line == 2
    assert parsed(document('sandbox_project_root = "/p"')).config.offload.sandbox_repo_root == "/p"
    both = parsed(document('sandbox_repo_root = "/app"\nsandbox_project_root = "/app/p"')).config.offload
    assert (both.sandbox_repo_root, both.sandbox_project_root) == ("/app", "/app/p")


def test_only_providers_that_need_a_root_ask_for_one() -> None:
    """The error names both keys."""
    assert parsed(document()).config.offload.sandbox_project_root is None
    message = refused(document().replace('"toy"', '"remote"'))
    assert "offload.sandbox_repo_root or offload.sandbox_project_root" in message


def test_the_project_is_where_the_file_is(tmp_path: Path) -> None:
    """`working_dir` and `output_dir` count from the file, not from the current directory."""
    (tmp_path / "sub").mkdir()
    path = tmp_path / "offload.toml"
    path.write_text(document('working_dir = "sub"'), encoding="utf-8")
    loaded = load(path)
    assert loaded.project_dir == tmp_path / "sub"
    assert loaded.output_dir == tmp_path / "test-results"
    path.write_text(document('working_dir = "nope"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"offload\.toml:2: offload\.working_dir: there is no directory"):
        load(path)


def test_variables_expand_in_provider_env_only() -> None:
    """Elsewhere `${…}` is for the shell of a sandbox."""
    text = document('sandbox_init_cmd = "echo ${HOME}"', 'env = { A = "${HOME}/x", B = "${NO:-d}" }')
    config = parsed(text, HOME="/home/me").config
    assert config.provider.options.env == {"A": "/home/me/x", "B": "d"}
    assert config.offload.sandbox_init_cmd == "echo ${HOME}"
    message = refused(document("", 'env = { A = "${NO_SUCH}" }'))
    assert message.startswith("offload.toml:5: provider.env.A: the variable NO_SUCH is not set")


def test_the_hash_is_of_effective_values_without_secrets() -> None:
    """Layers do not matter, values do, secrets do not."""
    plain = parsed(document("max_parallel = 3")).hash
    assert parsed(document(), OFFLOAD_OFFLOAD__MAX_PARALLEL="3").hash == plain
    assert parsed(document("max_parallel = 4")).hash != plain
    first = parsed(document("", 'env = { API_TOKEN = "one-secret-value" }'))
    second = parsed(document("", 'env = { API_TOKEN = "another-secret-value" }'))
    assert first.hash == second.hash


def test_the_real_environment_is_not_read_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`parse` sees the environment that it is given."""
    monkeypatch.setitem(os.environ, "OFFLOAD_OFFLOAD__MAX_PARALLEL", "77")
    assert parsed(document()).config.offload.max_parallel == 10
