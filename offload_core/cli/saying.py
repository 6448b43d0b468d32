"""What the command line says about errors and warnings, and the exit code that an error has."""

from __future__ import annotations

import json
from typing import Any

import click

from ..errors import ConfigError, OffloadError, PluginError

USAGE = 4
INFRASTRUCTURE = 3


class Terminated(Exception):
    """The system asked a command to end, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def explain(error: BaseException, title: str = "Error") -> str:
    """`Error: …`, then each cause in turn. Causes of other kinds than ours carry the name of theirs."""
    lines = [f"{title}: {error}"]
    cause = error.__cause__
    while cause is not None:
        kind = "" if isinstance(cause, OffloadError) else f"{type(cause).__name__}: "
        lines.append(f"Caused by: {kind}{cause}")
        cause = cause.__cause__
    return "\n".join(lines)


def failed(error: BaseException) -> int:
    """4 for what the user can correct on the command line, in the configuration or among the packages; else 3."""
    return USAGE if isinstance(error, (click.ClickException, ConfigError, PluginError)) else INFRASTRUCTURE


def say_json(value: Any) -> None:
    """Print it for a program."""
    click.echo(json.dumps(value, indent=2, default=str))


def warn(*messages: str) -> None:
    """Say each on stderr."""
    for message in messages:
        click.echo(f"Warning: {message}", err=True)
