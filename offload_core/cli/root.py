"""The `offload` command: its options, which every subcommand takes too, and its subcommands, imported when called.

`offload --help` is made from the table here, so that it imports nothing that a command needs.
"""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from typing import Any

import click
from attrs import define
from typing_extensions import override

from .. import __version__

_COMMANDS = {
    "run": "Run the tests, all or some.",
    "collect": "List the tests.",
    "build": "Make the image, and print its id.",
    "validate": "Check the configuration.",
    "init": "Write a configuration for this project.",
    "config": "Show the effective configuration, and where each value comes from.",
    "runners": "List the runners that are defined.",
    "logs": "Show results of the last run.",
    "report": "Write the reports of a run again, from its journal.",
    "history": "Show and merge what is recorded across runs.",
    "providers": "List the installed providers and frameworks.",
    "doctor": "Check that the configured provider and framework are ready.",
    "conformance": "Check that an installed provider keeps the contract.",
    "reap": "Terminate sandboxes that were left behind.",
}
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""For commands that can also say it to a program."""
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_COLORS = {"always": True, "never": False, "auto": None}


@define
class Settings:
    """The options that hold for every command, wherever on the line they stand."""

    config: Path | None = None
    verbose: bool = False
    color: str = "auto"


class OffloadCommand(click.Command):
    """A subcommand: takes the common options after its name too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", _CONTEXT)
        super().__init__(*args, **kwargs)
        _take_common_options(self)


class OffloadGroup(OffloadCommand, click.Group):
    """A subcommand with subcommands of its own: all take the common options."""

    command_class = OffloadCommand


class _Lazy(click.Group):
    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return names if not incomplete.startswith("-") else click.Command.shell_complete(self, ctx, incomplete)


def settings(ctx: click.Context) -> Settings:
    """The common options of this command line."""
    found: Settings = ctx.find_root().ensure_object(Settings)
    return found


def wants_color(choice: str) -> bool | None:
    """Whether to color: True or False, or None to decide by what the stream is. NO_COLOR forbids unless `always`."""
    if choice == "auto" and os.environ.get("NO_COLOR"):
        return False
    return _COLORS[choice]


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Remember an option that was given; the one that stands last on the line counts."""
    from click.core import ParameterSource

    kept = settings(ctx)
    if parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
        setattr(kept, parameter.name, value)
    if parameter.name == "color":
        ctx.color = wants_color(kept.color)


def _take_common_options(command: click.Command) -> None:
    option = functools.partial(click.option, expose_value=False, callback=_keep)
    path = click.Path(path_type=Path)
    option("-c", "--config", type=path, metavar="FILE", help="The configuration.  [default: offload.toml]")(command)
    option("-v", "--verbose", is_flag=True, help="Say more.")(command)
    option("--color", type=click.Choice(list(_COLORS)), help="Color the output.  [default: auto]")(command)
    click.version_option(__version__, message="offload %(version)s", help="Show the version.")(command)


root = _Lazy(
    "offload",
    context_settings=_CONTEXT,
    help="Run a test suite over many sandboxes at once.",
    epilog="`offload COMMAND --help` tells more about a command.",
)
_take_common_options(root)
