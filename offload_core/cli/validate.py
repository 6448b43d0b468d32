"""`offload validate`: is the configuration usable?"""

from __future__ import annotations

import click

from ..errors import ConfigError, PluginError
from .configured import load_configured
from .root import OffloadCommand, settings
from .saying import USAGE, explain, warn


@click.command("validate", cls=OffloadCommand, help="Check the configuration.")
@click.option("--strict", is_flag=True, help="Warnings, such as unknown keys, make it fail.")
@click.pass_context
def command(ctx: click.Context, strict: bool) -> int:
    """Print what the configuration says, or why it cannot be used (exit code 4)."""
    try:
        loaded = load_configured(settings(ctx))
    except (ConfigError, PluginError) as error:
        click.echo(explain(error, "Configuration error"), err=True)
        return USAGE
    warn(*loaded.warnings)
    if strict and loaded.warnings:
        click.echo(f"Configuration error: {len(loaded.warnings)} warning(s), see above (--strict)", err=True)
        return USAGE
    config = loaded.config
    lines = [
        "Configuration is valid!",
        "",
        "Settings:",
        f"  Max parallel: {config.offload.max_parallel}",
        f"  Test timeout: {config.offload.test_timeout_secs:g}s",
        f"  Provider: {config.provider.type}",
        f"  Framework: {config.framework.type}",
    ]
    if config.offload.sandbox_init_cmd:
        lines.append(f"  Sandbox init cmd: {config.offload.sandbox_init_cmd}")
    assembled = loaded.assembled
    if assembled.runners:
        lines.append(f"  Runner: {assembled.runners[-1]}")
    if assembled.policy.path:
        lines.append(f"  Policy: {assembled.policy.path}")
    lines += ["", "Groups:"]
    lines += [f"  {name}: retry_count = {group.retry_count}" for name, group in config.groups.items()]
    click.echo("\n".join(lines))
    return 0
