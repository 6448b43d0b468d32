"""`offload init`: write a configuration that validates and runs."""

from __future__ import annotations

from pathlib import Path

import click

from ..config.schema import DEFAULT_FILE
from ..errors import ConfigError
from .root import OffloadCommand, settings
from .starter import starter


@click.command("init", cls=OffloadCommand, help="Write a configuration for this project.")
@click.option("-p", "--provider", metavar="NAME", help="By default the one that needs no further settings.")
@click.option("-f", "--framework", metavar="NAME", help="By default what the files here suggest.")
@click.option("--force", is_flag=True, help="Replace a configuration that exists.")
@click.pass_context
def command(ctx: click.Context, provider: str | None, framework: str | None, force: bool) -> int:
    """Look at the files of the directory that the configuration will stand in, and write it there."""
    path = settings(ctx).config or Path(DEFAULT_FILE)
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; --force replaces it")
    started = starter(path.absolute().parent, provider, framework)
    try:
        path.write_text(started.text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} could not be written: {error.strerror or error}") from error
    click.echo(f"Wrote {path}: {started.why}.")
    for required in started.required:
        click.echo(f"Fill in {required} before the first run.")
    click.echo("Next: `offload doctor` checks that everything is ready, `offload run` runs the tests.")
    return 0
