"""`offload collect`: list the tests."""

from __future__ import annotations

import click

from .configured import load_configured
from .interruption import run_until_terminated
from .listing import list_tests
from .root import OffloadCommand, settings
from .saying import warn


@click.command("collect", cls=OffloadCommand, help="List the tests.")
@click.option("-f", "--format", "form", default="text", metavar="text|json", help="What to print.  [default: text]")
@click.pass_context
def command(ctx: click.Context, form: str) -> int:
    """Every group's tests on stdout. Exit code 1 if a module could not be collected, 5 if there are none."""
    loaded = load_configured(settings(ctx))
    warn(*loaded.warnings)
    listing = run_until_terminated(list_tests(loaded))
    if form == "json":
        listing.say_json()
    else:
        click.echo(f"Discovered {listing.count} tests across {len(listing.tests)} groups:")
        listing.say()
    listing.say_failed()
    return listing.exit_code
