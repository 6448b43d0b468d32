"""`offload collect`: list the tests."""

from __future__ import annotations

import click

from .root import OffloadCommand, settings


@click.command("collect", cls=OffloadCommand, help="List the tests.")
@click.option("-f", "--format", "form", default="text", metavar="text|json", help="What to print.  [default: text]")
@click.pass_context
def command(ctx: click.Context, form: str) -> int:
    """Every group's tests on stdout. Exit code 1 if a module could not be collected, 5 if there are none."""
    from .configured import load_configured
    from .interruption import run_until_terminated
    from .listing import list_tests, say_failed
    from .saying import warn

    loaded = load_configured(settings(ctx))
    warn(loaded.warnings)
    listing = run_until_terminated(list_tests(loaded))
    if form == "json":
        click.echo(listing.json())
    else:
        click.echo(f"Discovered {listing.count} tests across {len(listing.tests)} groups:")
        for line in listing.text():
            click.echo(line)
    say_failed(listing)
    return listing.exit_code
