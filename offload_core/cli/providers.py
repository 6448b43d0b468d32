"""`offload providers`: what is installed, and what of it is broken."""

from __future__ import annotations

import attrs
import click

from ..plugins import FRAMEWORKS, PROVIDERS, installed
from .root import JSON, OffloadCommand
from .saying import say_json


@click.command("providers", cls=OffloadCommand, help="List the installed providers and frameworks.")
@JSON
def command(as_json: bool) -> int:
    """Each with the package it is from; one that does not load with the reason. Always exit code 0."""
    found = {"providers": installed(PROVIDERS), "frameworks": installed(FRAMEWORKS)}
    if as_json:
        say_json({kind: [attrs.asdict(each) for each in plugins] for kind, plugins in found.items()})
        return 0
    for kind, plugins in found.items():
        click.echo(f"{kind.capitalize()}:")
        if not plugins:
            click.echo("  none installed")
        rows = [(each.name, f"{each.distribution} {each.version}", each.target) for each in plugins]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        for row, plugin in zip(rows, plugins, strict=True):
            click.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            if plugin.error:
                click.echo(f"    broken: {plugin.error}")
    return 0
