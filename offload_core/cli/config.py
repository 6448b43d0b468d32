"""`offload config`: the effective configuration, where each value comes from, and the schema of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ..config.effective import Explanation, effective, explain
from ..config.json_schema import json_schema
from ..config.keys import DEFAULT, KeyPath, Origin, dotted
from ..config.layers import from_flag
from ..config.loading import Loaded
from ..plugins import FRAMEWORKS, PROVIDERS, installed, load_framework_class, load_provider_class
from .configured import load_configured
from .root import JSON, OffloadGroup, settings
from .runners import chain_json, lock_json
from .saying import say_json, warn
from .toml_text import toml

_RUNNER = click.option("--runner", metavar="NAME", help="As `offload run --runner`.")


@click.command(
    "config",
    cls=OffloadGroup,
    invoke_without_command=True,
    help="Show the effective configuration. Values of secrets are masked.",
)
@_RUNNER
@JSON
@click.pass_context
def command(ctx: click.Context, runner: str | None, as_json: bool) -> int | None:
    """Print every value that counts, with where it comes from, as TOML."""
    if ctx.invoked_subcommand is not None:
        if runner is not None or as_json:
            raise click.UsageError("Options belong behind the name of the subcommand.")
        return None
    loaded = _loaded(ctx, runner)
    tables = effective(loaded)
    if as_json:
        say_json(_plain(loaded, tables))
        return 0
    for line in _heads(loaded):
        click.echo(line)
    for path, table in _tables(tables):
        click.echo(f"\n[{dotted(path)}]")
        for key, value in table.items():
            click.echo(_line(loaded, (*path, key), value))
    return 0


@command.command("explain", help="Show where the value of a KEY, or of every key in a table, comes from.")
@click.argument("key")
@_RUNNER
@JSON
@click.pass_context
def explained(ctx: click.Context, key: str, runner: str | None, as_json: bool) -> int:
    """The value, who set it, what it covers, and whether it is locked, by whom and why."""
    found = explain(_loaded(ctx, runner), key)
    if as_json:
        say_json([_told(each) for each in found])
    else:
        click.echo("\n\n".join("\n".join(_lines(each)) for each in found))
    return 0


@command.command("schema", help="Print the JSON Schema of offload.toml, for editors.")
@click.option("--generic", is_flag=True, help="Without the keys of the plugins that are installed.")
@click.option("--json", is_flag=True, expose_value=False, help="It is JSON anyway.")
def schema(generic: bool) -> int:
    """With the options of every plugin that loads; those that do not are warnings."""
    plugins = None if generic else _installed_options()
    click.echo(json.dumps(json_schema(plugins), indent=2, ensure_ascii=False))
    return 0


def _installed_options() -> dict[str, dict[str, type]]:
    found: dict[str, dict[str, type]] = {}
    for kind, namespace, load in (
        ("provider", PROVIDERS, load_provider_class),
        ("framework", FRAMEWORKS, load_framework_class),
    ):
        plugins = installed(namespace)
        warn(*(f"the {kind} {each.name!r} is left out: {each.error}" for each in plugins if each.error))
        found[kind] = {each.name: load(each.name).Options for each in plugins if not each.error}
    return found


def _loaded(ctx: click.Context, runner: str | None) -> Loaded:
    overrides = [from_flag("offload.runner", runner, "--runner")] if runner is not None else []
    loaded = load_configured(settings(ctx), overrides)
    warn(*loaded.warnings)
    return loaded


def _tables(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Each with its header: groups are tables of their own."""
    for name, table in tables.items():
        if name == "groups":
            yield from ((("groups", group), values) for group, values in table.items())
        else:
            yield (name,), table


def _heads(loaded: Loaded) -> list[str]:
    assembled = loaded.assembled
    lines = [f"# The configuration of {loaded.path}, with all that counts beside it."]
    if assembled.runners:
        lines.append(f"# Runner: {' -> '.join(map(str, reversed(assembled.runners)))}")
    if assembled.policy.path:
        lines.append(f"# Policy: {assembled.policy.path}")
    return lines


def _line(loaded: Loaded, path: KeyPath, value: Any) -> str:
    name, locks = dotted(path[-1:]), loaded.assembled.locks
    where = _whence(loaded.provenance.get(dotted(path), DEFAULT))
    locked = ", locked" if locks.on(path) else ", partly locked" if locks.below(path) else ""
    return f"# {name} is not set{locked}" if value is None else f"{name} = {toml(value)}  # {where}{locked}"


def _whence(origin: Origin) -> str:
    return str(origin) if origin == DEFAULT else f"{origin} ({origin.layer})"


def _plain(loaded: Loaded, tables: Mapping[str, Any]) -> dict[str, Any]:
    assembled = loaded.assembled
    return {
        "file": str(loaded.path),
        "runner": chain_json(assembled.runners),
        "policy": str(assembled.policy.path) if assembled.policy.path else None,
        "values": tables,
        "origins": {key: str(origin) for key, origin in loaded.provenance.items()},
        "locks": [lock_json(each) for each in assembled.locks],
    }


def _told(explanation: Explanation) -> dict[str, Any]:
    lock = explanation.lock
    return {
        "key": explanation.key,
        "value": explanation.value,
        "origin": str(explanation.origin),
        "layer": explanation.origin.layer.value,
        "overrides": [{"value": each.value, "origin": str(each.origin)} for each in explanation.overrides],
        "locked": lock_json(lock) if lock else None,
    }


def _lines(explanation: Explanation) -> list[str]:
    value = "(not set)" if explanation.value is None else toml(explanation.value)
    lines = [f"{explanation.key} = {value}", f"  from       {_whence(explanation.origin)}"]
    for index, each in enumerate(explanation.overrides):
        covered = "(not set)" if each.value is None else toml(each.value)
        lines.append(f"  {'' if index else 'overrides':<10} {covered}, from {_whence(each.origin)}")
    lines.append(f"  {explanation.lock}" if explanation.lock else "  not locked")
    return lines + ([f"  {explanation.doc}"] if explanation.doc else [])
