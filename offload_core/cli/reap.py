"""`offload reap`: terminate what killed runs left behind."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import click

from ..abc import SandboxRef
from ..errors import ProviderError
from ..retry import RetryPolicy
from .configured import load_configured, make_provider
from .interruption import run_until_terminated
from .root import OffloadCommand, settings
from .saying import INFRASTRUCTURE, say_json, warn


@click.command("reap", cls=OffloadCommand, help="Terminate sandboxes that were left behind.")
@click.option("--run", "run_id", metavar="ID", help="Those of this run.")
@click.option("--expired", is_flag=True, help="Those whose lifetime is over.")
@click.option("--all", "everything", is_flag=True, help="Every one that Offload made, of runs in progress too.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON. Needs --yes.")
@click.pass_context
def command(ctx: click.Context, run_id: str | None, expired: bool, everything: bool, yes: bool, as_json: bool) -> int:
    """List what the configured provider has, ask, terminate. Exit code 3 if something may still be there."""
    if (run_id is not None) + expired + everything != 1:
        raise click.UsageError("Say which: --run ID, --expired or --all.")
    if as_json and not yes:
        raise click.UsageError("--json needs --yes.")
    loaded = load_configured(settings(ctx))
    warn(*loaded.warnings)
    provider = make_provider(loaded)
    policy = RetryPolicy(
        provider, loaded.config.retry, lambda waiting: warn(f"{waiting.operation}: {waiting.error}; trying again")
    )
    return run_until_terminated(_reap(policy, run_id, expired, yes, as_json))


async def _reap(policy: RetryPolicy, run_id: str | None, expired: bool, yes: bool, as_json: bool) -> int:
    failures: Mapping[SandboxRef, ProviderError] = {}
    ended: Sequence[SandboxRef] = ()
    async with policy.provider as provider:
        refs = list(await policy.call("list", lambda: provider.list(run_id)))
        if expired:
            refs = [ref for ref in refs if ref.expires is not None and ref.expires <= time.time()]
        if not as_json:
            _announce(refs, provider.context.name)
        if refs and (yes or _agreed()):
            failures = await policy.terminate_all(refs)
            ended = [ref for ref in refs if ref not in failures]
    _report(ended, failures, as_json)
    return INFRASTRUCTURE if failures else 0


def _agreed() -> bool:
    try:
        return click.confirm("Terminate them?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError("Nobody is there to ask: add --yes.") from None


def _announce(refs: Sequence[SandboxRef], provider: str) -> None:
    if not refs:
        click.echo(f"Nothing to reap on {provider}.")
        return
    click.echo(f"{len(refs)} sandbox{'es' if len(refs) > 1 else ''} on {provider}:")
    for ref in refs:
        told = [ref.id, ref.name, f"run {ref.run_id}" if ref.run_id else "", _expiry(ref.expires)]
        click.echo("  " + "  ".join(part for part in told if part))


def _expiry(expires: float | None) -> str:
    if expires is None:
        return ""
    minutes = (expires - time.time()) / 60
    return f"expired {-minutes:.0f} min ago" if minutes <= 0 else f"expires in {minutes:.0f} min"


def _report(ended: Sequence[SandboxRef], failures: Mapping[SandboxRef, ProviderError], as_json: bool) -> None:
    if as_json:
        left = [{"id": ref.id, "error": str(error)} for ref, error in failures.items()]
        say_json({"terminated": [ref.id for ref in ended], "left": left})
        return
    if ended:
        click.echo(f"Terminated {len(ended)}.")
    for ref, error in failures.items():
        click.echo(f"Error: {ref.id} may still be there: {error}", err=True)
