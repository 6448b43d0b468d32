"""What each command of `modal_sandbox.py` does: one call or two of the provider."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
import sys
import threading
from argparse import Namespace
from collections.abc import Coroutine
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from offload_core.abc import (
    ByteStream,
    Command,
    Context,
    Download,
    PrepareRequest,
    Process,
    SandboxRef,
    SandboxSpec,
    Upload,
)
from offload_core.kit import launched
from offload_core.liveness import DeathWatch, Poller
from offload_core.retry import RetryPolicy

from .._options import ModalOptions
from .._provider import ModalProvider
from .._sandbox import ModalSandbox

T = TypeVar("T")

ROOT = PurePosixPath("/app")
_PATCH = PurePosixPath("/tmp/offload.patch")
_CHUNK = 1 << 16


def _provider(root: PurePosixPath = ROOT, **options: Any) -> ModalProvider:
    return ModalProvider(ModalOptions(**options), Context(name="modal", sandbox_root=root))


async def prepare(arguments: Namespace) -> int:
    """Build the image and print its id."""
    context = arguments.context_dir.absolute()
    root = PurePosixPath(arguments.sandbox_project_root)
    copied = tuple((context / local, root / remote) for local, remote in arguments.copy_dir)
    patch = ((arguments.patch_file.absolute(), _PATCH),) if arguments.patch_file else ()
    request = PrepareRequest(
        context=context,
        dockerfile=Path(arguments.dockerfile) if arguments.dockerfile else None,
        base=arguments.from_base_image,
        init=_last_layer(arguments),
        copy=(*copied, *patch),
        no_cache=arguments.no_cache,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    async with _provider(root, include_cwd=arguments.include_cwd) as provider:
        image = await provider.prepare(request)
    assert image is not None
    print(image.id)
    return 0


def _last_layer(arguments: Namespace) -> str | None:
    """The commands of the last layer, in the order in which they have to run."""
    commands = [arguments.sandbox_init_cmd] if arguments.sandbox_init_cmd else []
    patch = shlex.quote(str(_PATCH))
    if arguments.patch_file:
        commands.append(f"git apply --whitespace=nowarn {patch}")
    if arguments.post_patch_cmd:
        commands.append(f"export OFFLOAD_PATCH_FILE={patch}")
        commands.append(arguments.post_patch_cmd)
    if arguments.patch_file:
        commands.append(f"rm -f {patch}")
    return "\n".join(["set -e", *commands]) if commands else None


async def create(arguments: Namespace) -> int:
    """Make a sandbox and print its id."""
    async with _provider(
        cpu_cores=arguments.cpu, memory_gb=arguments.memory_gb, experimental_options=arguments.experimental_options
    ) as provider:
        sandbox = await _new(provider, arguments.image, dict(arguments.env))
        try:
            await sandbox.upload([Upload(Path(local), ROOT / remote) for local, remote in arguments.copy_dir])
        except BaseException:
            await sandbox.terminate()
            raise
    print(sandbox.ref.id)
    return 0


async def _new(provider: ModalProvider, image: str, env: dict[str, str]) -> ModalSandbox:
    name = f"script-{secrets.token_hex(4)}"
    made = await provider.prepare(PrepareRequest(context=Path(), base=image))
    # A configuration's own commands end it: it belongs to no run, and no other run must take it for its own.
    return await provider.create(SandboxSpec(name=name, run_id=name, image=made, env=env, cwd=ROOT))


async def exec_(arguments: Namespace) -> int:
    """Run a shell command in a sandbox; returns its exit code."""
    async with _provider() as provider:
        sandbox = provider.attach(SandboxRef(id=arguments.id))
        return await _watched(provider, sandbox, _run(sandbox, arguments.line))


async def download(arguments: Namespace) -> int:
    """Copy files and directories from a sandbox."""
    files = [Download(PurePosixPath(remote), Path(local)) for remote, local in arguments.paths]
    async with _provider() as provider:
        sandbox = provider.attach(SandboxRef(id=arguments.id))
        await _watched(provider, sandbox, sandbox.download(files))
    return 0


async def destroy(arguments: Namespace) -> int:
    """End a sandbox; it is no error if it has ended."""
    async with _provider() as provider:
        await provider.attach(SandboxRef(id=arguments.id)).terminate()
    return 0


async def destroy_many(arguments: Namespace) -> int:
    """End the sandboxes whose ids are on standard input; what may still be there is said on standard error."""
    refs = [SandboxRef(id=line.strip()) for line in sys.stdin if line.strip()]
    async with _provider() as provider:
        failed = await RetryPolicy(provider).terminate_all(refs)
    for error in failed.values():
        print(f"Error: {error}", file=sys.stderr)
    return 1 if failed else 0


async def run(arguments: Namespace) -> int:
    """Run a shell command in a sandbox of the default image, made for it; returns its exit code."""
    async with _provider() as provider:
        image = await provider.prepare(PrepareRequest(context=Path()))
        run_id = f"script-{secrets.token_hex(4)}"
        sandbox = await provider.create(SandboxSpec(name="script", run_id=run_id, image=image))
        try:
            return await _watched(provider, sandbox, _run(sandbox, arguments.line))
        finally:
            await sandbox.terminate()


async def _watched(provider: ModalProvider, sandbox: ModalSandbox, call: Coroutine[Any, Any, T]) -> T:
    """Ask first whether it lives; then make a call that ends when it dies, or is lost."""
    try:
        async with Poller(provider) as poller, DeathWatch(sandbox, poller) as watch:
            if (await watch.probe()).is_dead:
                raise watch.loss()
            return await watch.guard(call)
    finally:
        call.close()  # if it was never begun


async def _run(sandbox: ModalSandbox, line: str) -> int:
    process = await sandbox.exec(launched(Command(argv=("/bin/sh", "-c", line))))
    # Not waited for: nobody can end a read of standard input.
    threading.Thread(target=_feed, args=(process, asyncio.get_running_loop()), daemon=True).start()
    try:
        await asyncio.gather(_pass(process.stdout, sys.stdout.buffer), _pass(process.stderr, sys.stderr.buffer))
        ended = await process.wait()
    except BaseException:
        await process.abandon()
        raise
    if ended.code is not None:
        return ended.code
    return 128 + ended.signal if ended.signal is not None else 1


async def _pass(stream: ByteStream, target: IO[bytes]) -> None:
    async for chunk in stream:
        await asyncio.to_thread(_write, target, chunk)


def _write(target: IO[bytes], chunk: bytes) -> None:
    target.write(chunk)
    target.flush()


def _feed(process: Process, loop: asyncio.AbstractEventLoop) -> None:
    """Pass standard input on to its end; of a terminal, only that it has ended."""

    def wait_for(call: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(call, loop).result()
        finally:
            call.close()

    with contextlib.suppress(Exception):  # the process reads no more, or all is over
        while not sys.stdin.isatty() and (chunk := os.read(0, _CHUNK)):
            wait_for(process.write(chunk))
        wait_for(process.close_stdin())
