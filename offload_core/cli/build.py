"""`offload build`: make the image that a run would use, and nothing else."""

from __future__ import annotations

import click

from ..abc import Image, PrepareRequest
from ..retry import RetryPolicy
from .configured import load_configured, make_provider
from .interruption import run_until_terminated
from .root import OffloadCommand, settings
from .run_options import RunOptions, makes_images
from .saying import warn


@click.command("build", cls=OffloadCommand, help="Make the image, and print its id.")
@click.option("--copy-dir", multiple=True, metavar="L:R", help="Copy L on this host to R in the image. Repeatable.")
@click.option("--no-cache", is_flag=True, help="Build it anew.")
@click.pass_context
def command(ctx: click.Context, copy_dir: tuple[str, ...], no_cache: bool) -> int:
    """The id is all that goes to stdout: `offload run --override-image-id` takes it."""
    options = RunOptions(copy_dir=copy_dir, no_cache=no_cache)
    loaded = load_configured(settings(ctx), options.overrides)
    warn(*loaded.warnings)
    options.check(loaded)
    provider = make_provider(loaded)
    if not makes_images(provider):
        click.echo(f"Nothing to do: the provider {provider.context.name!r} makes no images.", err=True)
        return 0
    request = options.prepare_request(loaded, lambda line: click.echo(f"[prepare]   {line}", err=True))
    policy = RetryPolicy(
        provider, loaded.config.retry, lambda waiting: warn(f"{waiting.operation}: {waiting.error}; trying again")
    )
    image = run_until_terminated(_build(policy, request))
    if image is None:
        click.echo("Nothing to do: this configuration needs no image.", err=True)
    else:
        click.echo(image.id)
    return 0


async def _build(policy: RetryPolicy, request: PrepareRequest) -> Image | None:
    async with policy.provider as provider:
        return await policy.call("prepare", lambda: provider.prepare(request), bounded=False)
