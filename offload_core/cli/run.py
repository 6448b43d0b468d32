"""`offload run`: run the tests."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from ..config.loading import Loaded
from .composition import run
from .configured import load_configured
from .interruption import run_until_terminated
from .listing import list_tests
from .root import OffloadCommand, settings
from .run_options import RunOptions
from .saying import warn


@click.command("run", cls=OffloadCommand, help="Run the tests: all, or those whose ids or paths are given.")
@click.argument("tests", nargs=-1)
@click.option("-p", "--parallel", type=click.IntRange(min=1), metavar="N", help="How many sandboxes at most.")
@click.option("--runner", metavar="NAME", help="Build on this runner; `offload runners` lists them.")
@click.option("--collect-only", is_flag=True, help="List the tests instead of running them.")
@click.option("--last-failed", is_flag=True, help="Only what has no good verdict from the last run.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure; nothing is retried.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable for sandboxes. Repeatable.")
@click.option("--copy-dir", multiple=True, metavar="L:R", help="Copy L on this host to R in the image. Repeatable.")
@click.option("--no-cache", is_flag=True, help="Build the image anew.")
@click.option("--override-image-id", metavar="ID", help="Use this image as it is.")
@click.option(
    "--flaky-result", type=click.Choice(["pass", "fail"]), help="What flaky tests mean.  [default: exit code 2]"
)
@click.option("--no-tests", type=click.Choice(["pass"]), help="A run without tests is a success, not exit code 5.")
@click.option("--ci", is_flag=True, help="Plain lines instead of a live display. Also when CI=true.")
@click.option("--record-history", is_flag=True, help="Record durations and outcomes.")
@click.option("--trace", is_flag=True, help="Write trace.json, which Perfetto shows.")
@click.option("--show-estimated-cost", is_flag=True, help="Show what the sandboxes cost.")
@click.pass_context
def command(ctx: click.Context, /, collect_only: bool, **given: object) -> int:
    """Run, report, and return the exit code of `offload_core.results.accounting.ExitCode`."""
    common = settings(ctx)
    options = RunOptions(argv=tuple(sys.argv), verbose=common.verbose, color=common.color, **given)  # type: ignore[arg-type]
    loaded = load_configured(common, options.overrides)
    return _collect(loaded, options.tests) if collect_only else run(loaded, options)


def _collect(loaded: Loaded, tests: Sequence[str]) -> int:
    warn(*loaded.warnings)
    click.echo("Discovering tests... ", nl=False, err=True)
    listing = run_until_terminated(list_tests(loaded, tests))
    click.echo(f"found {listing.count} tests across {len(listing.tests)} groups", err=True)
    listing.say()
    listing.say_failed()
    return listing.exit_code
