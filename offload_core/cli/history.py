"""`offload history`: what is recorded across runs, shown and merged."""

from __future__ import annotations

from pathlib import Path

import click

from ..config.schema import HistoryTable
from ..errors import ConfigError
from ..history import merge_files, read_history
from .configured import load_configured
from .history_table import entries_of, flakiest_first, named, print_table, print_test, say_entries, slowest_first
from .merge_driver import set_up
from .root import JSON, OffloadCommand, OffloadGroup, settings, wants_color
from .saying import warn

NO_HISTORY = 1
MOST = 20
"""How many tests `--slowest` and `--flakiest` show."""


@click.group("history", cls=OffloadGroup, help="Show and merge what is recorded across runs.")
def command() -> None:
    """See the subcommands."""


@command.command("show", cls=OffloadCommand, help="Show what is known of all tests, or of one.")
@click.argument("test", required=False)
@click.option("--slowest", is_flag=True, help=f"The {MOST} that take longest.")
@click.option("--flakiest", is_flag=True, help=f"The {MOST} that fail most often, of those that pass, too.")
@JSON
@click.pass_context
def show(ctx: click.Context, test: str | None, slowest: bool, flakiest: bool, as_json: bool) -> int:
    """Print the entries of this configuration. Exit code 1 if there is no history."""
    if sum((test is not None, slowest, flakiest)) > 1:
        raise ConfigError("--slowest, --flakiest and a test exclude each other")
    loaded = load_configured(settings(ctx))
    if loaded.history_path is None:
        raise ConfigError(f"{loaded.path} has no [history] table")
    if not loaded.history_path.exists():
        click.echo(f"No history found at {loaded.history_path}; `offload run --record-history` writes one", err=True)
        return NO_HISTORY
    history = read_history(loaded.history_path)
    warn(*(f"{history.path}, {problem}" for problem in history.problems))
    shown = entries_of(history, loaded.path.name, warn)
    if test is not None:
        shown = named(shown, test)
    elif slowest:
        shown = slowest_first(shown)[:MOST]
    elif flakiest:
        shown = flakiest_first(shown)[:MOST]
    color = wants_color(settings(ctx).color)
    if as_json:
        say_entries(shown)
    elif test is not None:
        print_test(*shown[0], color)
    else:
        print_table(shown, color)
    return 0


@command.command("merge", cls=OffloadCommand, help="Merge what THEIRS has added since BASE into OURS. For git.")
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("ours", type=click.Path(path_type=Path))
@click.argument("theirs", type=click.Path(path_type=Path))
def merge(base: Path, ours: Path, theirs: Path) -> int:
    """Needs no configuration. Silent; exit code 3, and OURS as it was, if one of the two cannot be read whole."""
    merge_files(base, ours, theirs, warn)
    return 0


@command.command("setup-merge-driver", cls=OffloadCommand, help="Let git merge the history by `offload history merge`.")
@click.pass_context
def setup_merge_driver(ctx: click.Context) -> int:
    """Say what is changed in the repository, and what was already so."""
    loaded = load_configured(settings(ctx))
    path = loaded.history_path or loaded.path.absolute().parent / HistoryTable().path
    for line in set_up(path):
        click.echo(line)
    return 0
