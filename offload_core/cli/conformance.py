"""`offload conformance`: does an installed provider keep the contract?"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from ..config.documents import Document, EnvironmentText
from ..config.layers import from_flag
from ..config.loading import Loaded, load, parse
from ..config.schema import DEFAULT_FILE
from ..errors import ConfigError, PluginError
from ..plugins import load_provider_class
from .configured import make_provider
from .request import prepare_request
from .root import OffloadCommand, Settings, settings
from .saying import INFRASTRUCTURE, Terminated, warn
from .toml_text import toml

if TYPE_CHECKING:
    from ..testing import Subject  # needs pytest

_ALONE = """\
[offload]
sandbox_project_root = "/offload"
[provider]
type = {name}
[framework]
type = "pytest"
[groups.all]
"""
"""Stands for a configuration where there is none for the provider; its framework is not used."""


@click.command("conformance", cls=OffloadCommand, help="Check that an installed provider keeps the contract.")
@click.argument("name")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="A key of [provider]. Repeatable.")
@click.option("--kill-command", default="", metavar="TEMPLATE", help="Makes a sandbox die: `… {sandbox_id}`.")
@click.option("-k", "select", default="", metavar="EXPRESSION", help="Only the checks that match, as in pytest.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0.1),
    default=60.0,
    metavar="SECONDS",
    help="How long to wait.  [default: 60]",
)
@click.option("--at-once", type=click.IntRange(min=1), default=50, metavar="N", help="Sandboxes.  [default: 50]")
@click.option("--no-lifetime", is_flag=True, help="The backend cannot end a sandbox when its lifetime is over.")
@click.pass_context
def command(ctx: click.Context, /, name: str, options: tuple[str, ...], **how: Any) -> int:
    """Make sandboxes, break them, and say what the contract asks. Exit code 1 if a check failed."""
    try:
        import pytest  # noqa: F401  # it runs the checks
    except ImportError:
        raise ConfigError("the checks are run by pytest, which is not installed: pip install pytest") from None
    if how["kill_command"] and not shutil.which(shlex.split(how["kill_command"])[0]):
        raise ConfigError(f"--kill-command: there is no program {shlex.split(how['kill_command'])[0]}")
    loaded = _load(settings(ctx), name, options)
    warn(*loaded.warnings)
    subject = _subject(loaded, how)
    if not asyncio.run(_is_ready(subject)):
        return INFRASTRUCTURE
    return _run_checks(subject, how["select"], verbose=settings(ctx).verbose)


async def _is_ready(subject: Subject) -> bool:
    """Say what the provider's own `check` finds wrong: all checks would fail of it, one by one."""
    async with subject.make() as provider:
        try:
            async with asyncio.timeout(subject.patience_secs):
                health = await provider.check()
        except Exception:  # that it raises or hangs is what a check is about
            return True
    for finding in health.findings if not health.ok else ():
        if finding.severity != "ok":
            click.echo(f"Error: {finding.what}{f': {finding.remedy}' if finding.remedy else ''}", err=True)
    return health.ok


def _load(given: Settings, name: str, options: Sequence[str]) -> Loaded:
    """The configuration, if it is about this provider; else nothing but the options."""
    load_provider_class(name)  # before a configuration is looked at: what is wrong with it is said without one
    path = given.config or Path(DEFAULT_FILE)
    overrides = [_override(each) for each in options]
    if given.config or path.exists():
        configured = _provider_of(path, strict=given.config is not None)
        if configured == name:
            return load(path, environ=os.environ, overrides=overrides)
        if given.config:
            raise ConfigError(f"{path} configures the provider {configured!r}, not {name!r}")
        warn(f"{path} configures {configured!r}: only --option counts for {name!r}")
    return parse(_ALONE.format(name=toml(name)), path, environ={}, overrides=overrides)


def _provider_of(path: Path, *, strict: bool) -> str:
    """The provider that a configuration is about. If not `strict`, one that does not load is just another one."""
    try:
        return load(path, environ=os.environ).config.provider.type
    except PluginError:
        if strict:
            raise
        return "a provider that does not load"


def _override(text: str) -> Document:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.UsageError(f"--option {text!r} is not of the form KEY=VALUE.")
    return from_flag(f"provider.{key}", EnvironmentText(value), f"--option {text}")


def _subject(loaded: Loaded, how: dict[str, Any]) -> Subject:
    from ..testing import Subject

    offload, at_once = loaded.config.offload, how["at_once"]
    if loaded.assembled.locks.on(("offload", "max_parallel")):
        at_once = min(at_once, offload.max_parallel)
    offload = evolve(offload, max_parallel=max(at_once, offload.max_parallel))
    loaded = evolve(loaded, config=evolve(loaded.config, offload=offload))
    return Subject(
        make=lambda: make_provider(loaded),
        request=prepare_request(loaded),
        kill_command=how["kill_command"],
        patience_secs=how["patience"],
        enforces_lifetime=not how["no_lifetime"],
        at_once=at_once,
    )


def _run_checks(subject: Subject, select: str, *, verbose: bool) -> int:
    """Run the checks. Returns the exit code."""
    import pytest

    from ..testing import run_checks

    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.raise_signal(signal.SIGINT)  # what pytest and asyncio listen to

    before = signal.signal(signal.SIGTERM, end)
    try:
        code = run_checks(subject, select=select, verbose=verbose)
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        raise Terminated(received[0])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise ConfigError(f"-k {select!r}: there is no such check")
    return int(code) if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else INFRASTRUCTURE
