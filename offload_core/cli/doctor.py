"""`offload doctor`: is everything ready for a run?"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import PurePosixPath

import click

from ..abc import Finding, Health, Launch, Severity
from ..config.loading import Loaded
from ..execution.host import HostExecutor
from .configured import load_configured, make_framework, make_provider
from .interruption import run_until_terminated
from .root import JSON, OffloadCommand, settings
from .saying import INFRASTRUCTURE, say_json

CHECK_TIMEOUT_SECS = 60.0
"""How long one check may take: a plugin's check that hangs is a finding too."""

_WORDS = {"ok": "ok", "warning": "warning", "error": "ERROR"}


@click.command("doctor", cls=OffloadCommand, help="Check that the configured provider and framework are ready.")
@JSON
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int:
    """Print what was looked at, and what to do. Exit code 3 if a run could not be expected to start."""
    loaded = load_configured(settings(ctx))
    warnings = tuple(Finding(Severity.WARNING, warning) for warning in loaded.warnings)
    checks = {f"configuration {loaded.path}": Health(warnings or (Finding(Severity.OK, "it can be used"),))}
    checks |= run_until_terminated(_check(loaded))
    ok = all(health.ok for health in checks.values())
    if as_json:
        told = [
            {"name": name, "ok": health.ok, "findings": [_plain(each) for each in health.findings]}
            for name, health in checks.items()
        ]
        say_json({"ok": ok, "checks": told})
    else:
        for name, health in checks.items():
            _say(name, health)
        click.echo("Everything is ready." if ok else "A run would not get far: see the errors above.")
    return 0 if ok else INFRASTRUCTURE


async def _check(loaded: Loaded) -> dict[str, Health]:
    provider = make_provider(loaded)
    with tempfile.TemporaryDirectory(prefix="offload-doctor-") as scratch:
        launch = Launch(
            name="doctor",
            executor=HostExecutor(),
            root=PurePosixPath(loaded.project_dir),
            scratch=PurePosixPath(scratch),
            env=loaded.config.framework.env,
        )
        async with provider:
            found = await asyncio.gather(_bounded(provider.check()), _bounded(make_framework(loaded).check(launch)))
    config = loaded.config
    return {f"provider {config.provider.type}": found[0], f"framework {config.framework.type}": found[1]}


async def _bounded(check: Awaitable[Health]) -> Health:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECS):
            return await check
    except TimeoutError:
        reason = f"the check did not end in {CHECK_TIMEOUT_SECS:g} s"
    except Exception as error:  # a check promises not to raise: that it does is what there is to say
        reason = f"the check failed: {type(error).__name__}: {error}"
    return Health((Finding(Severity.ERROR, reason),))


def _plain(finding: Finding) -> dict[str, str]:
    return {"severity": finding.severity.value, "what": finding.what, "todo": finding.remedy}


def _say(name: str, health: Health) -> None:
    click.echo(f"{name}:")
    if not health.findings:
        click.echo("  ok       nothing to check")
    for finding in health.findings:
        click.echo(f"  {_WORDS[finding.severity]:<8} {finding.what}")
        if finding.remedy:
            click.echo(f"           -> {finding.remedy}")
