"""`offload build`: make the image that a run would use, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .root import OffloadCommand, settings
from .saying import warn

if TYPE_CHECKING:
    from ..abc import PrepareRequest, Provider
    from ..config.schema import RetryTable


@click.command("build", cls=OffloadCommand, help="Make the image, and print its id.")
@click.option("--copy-dir", multiple=True, metavar="L:R", help="Copy L on this host to R in the image. Repeatable.")
@click.option("--no-cache", is_flag=True, help="Build it anew.")
@click.pass_context
def command(ctx: click.Context, copy_dir: tuple[str, ...], no_cache: bool) -> int:
    """The id is all that goes to stdout: `offload run --override-image-id` takes it."""
    from .configured import load_configured, make_provider
    from .interruption import run_until_terminated
    from .run_options import RunOptions, makes_images

    options = RunOptions(copy_dir=copy_dir, no_cache=no_cache)
    loaded = load_configured(settings(ctx), options.overrides)
    warn(loaded.warnings)
    options.check(loaded)
    provider = make_provider(loaded)
    if not makes_images(provider):
        click.echo(f"Nothing to do: the provider {provider.context.name!r} makes no images.", err=True)
        return 0
    request = options.prepare_request(loaded, lambda line: click.echo(f"[prepare]   {line}", err=True))
    return run_until_terminated(_build(provider, loaded.config.retry, request))


async def _build(provider: Provider[Any], retry: RetryTable, request: PrepareRequest) -> int:
    from ..retry import RetryPolicy

    policy = RetryPolicy(provider, retry, lambda waiting: warn([f"{waiting.operation}: {waiting.error}; trying again"]))
    try:
        image = await policy.call("prepare", lambda: provider.prepare(request), bounded=False)
    finally:
        await provider.aclose()
    if image is None:
        click.echo("Nothing to do: this configuration needs no image.", err=True)
    else:
        click.echo(image.id)
    return 0
