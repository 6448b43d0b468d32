"""`offload runners`: the runners that are defined, and what each of them sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..config.assembly import resolved
from ..config.catalog import Catalog, Listed, sources
from ..config.documents import document, read
from ..config.keys import Layer, dotted
from ..config.locks import Lock
from ..config.policy import read_policy
from ..config.runners import Runner
from ..config.schema import DEFAULT_FILE
from ..config.secrets import without_secrets
from ..errors import ConfigError
from .root import JSON, OffloadGroup, settings
from .saying import say_json
from .toml_text import toml


@click.command(
    "runners",
    cls=OffloadGroup,
    invoke_without_command=True,
    help="List the runners that are defined, wherever that is.",
)
@JSON
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int | None:
    """Each with where it is from; one that cannot be used with the reason. Needs no offload.toml. Exit code 0."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("Options belong behind the name of the subcommand.")
        return None
    listed = _catalog(ctx).listing()
    if as_json:
        say_json([_plain(each) for each in listed])
        return 0
    if not listed:
        click.echo("No runners are defined.")
    width = max((len(each.name) for each in listed), default=0)
    for each in listed:
        click.echo(f"{each.name:<{width}}  {_summary(each)}".rstrip())
        click.echo(f"{'':<{width}}  {each.where}")
        if each.note:
            click.echo(f"{'':<{width}}  {each.note}")
    return 0


@command.command("show", help="Show what a runner sets and locks, with all that it extends.")
@click.argument("name")
@JSON
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> int:
    """Exit code 4 if there is no such runner, or it cannot be used."""
    chain, layers, locks = resolved(_catalog(ctx), name, "offload runners show")
    runner = chain[-1]
    values = [(path, laid[-1]) for path, laid in layers.history.items()]
    listed = tuple(map(str, layers.values.get("offload", {}).get("secrets", ())))
    if as_json:
        say_json(
            {
                "name": name,
                "description": runner.table.description,
                "chain": chain_json(chain),
                "values": without_secrets(layers.values, listed),
                "origins": {dotted(path): str(each.origin) for path, each in values},
                "locks": [lock_json(each) for each in locks],
            }
        )
        return 0
    click.echo(f"{name}: {runner.table.description}".rstrip(": "))
    click.echo("  " + " -> ".join(map(str, reversed(chain))))
    for path, each in values:
        [value] = without_secrets({str(path[-1]): each.value}, listed).values()
        click.echo(f"  {dotted(path)} = {toml(value)}  # {each.origin}")
    for lock in locks:
        click.echo(f"  {dotted(lock.path)} is {lock}")
    return 0


def chain_json(chain: Sequence[Runner]) -> list[dict[str, str]]:
    """A runner and all that it extends, itself first."""
    return [{"name": each.name, "origin": str(each.origin)} for each in reversed(chain)]


def lock_json(lock: Lock) -> dict[str, str]:
    """What is locked, by whom, where and why."""
    return {"key": dotted(lock.path), "by": lock.owner, "origin": str(lock.origin), "reason": lock.reason}


def _catalog(ctx: click.Context) -> Catalog:
    path = settings(ctx).config
    try:
        file = document(read(path or Path(DEFAULT_FILE)), str(path or DEFAULT_FILE), Layer.FILE)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(f"there is no configuration file {path}") from None
        file = None
    return Catalog(sources(os.environ, file), read_policy().runners)


def _plain(listed: Listed) -> dict[str, Any]:
    runner = listed.runner
    return {
        "name": listed.name,
        "description": runner.table.description if runner else "",
        "extends": runner.table.extends if runner else None,
        "locked": list(runner.table.locked) if runner else [],
        "place": listed.tier.value,
        "origin": listed.where,
        "note": listed.note,
    }


def _summary(listed: Listed) -> str:
    runner = listed.runner
    if runner is None:
        return "broken"
    parts = [runner.table.description]
    if runner.table.extends:
        parts.append(f"(extends {runner.table.extends})")
    if runner.table.locked:
        parts.append(f"(locks {', '.join(runner.table.locked)})")
    return " ".join(filter(None, parts))
