"""The image that sandboxes are made from, built layer by layer, so that what fails can be named."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import modal
from attrs import frozen
from modal import exception as modal_errors

from offload_core.abc import Context, Image, PrepareRequest
from offload_core.errors import PrepareFailed
from offload_core.kit import CACHES

from ._backend import ModalBackend
from ._dockerfile import single_stage
from ._options import ModalOptions

_IMAGE_ID = re.compile(r"im-\w+")
_LOG_LINES = 40
_LOG_SECS = 10.0

_OUTPUT_LOCK = ".offload.lock"
"""Stands in a directory that Offload writes its results to, which is never copied."""

_OUTPUT = (_OUTPUT_LOCK, ".offload-files", "events*.jsonl", "summary.json", "logs")
"""What of that is left out where the directory is the one that is copied."""


@frozen
class Layer:
    """One step of a build: what it is called, and how it is made on the image below it, if there is one."""

    name: str
    on: Callable[[modal.Image], modal.Image]


async def build(backend: ModalBackend, request: PrepareRequest) -> Image:
    """Build or find the image. Each layer is asked for by itself; what Modal has cached takes one call.

    Raises:
        PrepareFailed: a layer failed; its name and last lines are in the message.

    It raises whatever else the SDK raises.
    """
    layers = await asyncio.to_thread(_layers, backend.options, request, backend.context)
    client = await backend.client()
    image = modal.Image.from_scratch()
    for number, layer in enumerate(layers, start=1):
        request.progress(f"layer {number} of {len(layers)}: {layer.name}")
        base = modal.Image.from_id(image.object_id, client=client) if number > 1 else image
        image = await _built(layer, base, backend)
    return Image(image.object_id, key=image.object_id)


async def _built(layer: Layer, base: modal.Image, backend: ModalBackend) -> modal.Image:
    """One layer. If files change while they are read, they are read again: tests are being listed beside this."""
    tries, app = backend.tuning.changed_tries, await backend.app()
    for attempt in range(tries):
        image = layer.on(base)
        try:
            await image.build.aio(app)
        except (modal_errors.ExecutionError, FileNotFoundError) as error:
            if attempt == tries - 1:
                raise await _failed(layer, image, error) from error
        except (modal_errors.RemoteError, modal_errors.InvalidError, OSError) as error:
            if isinstance(error, (TimeoutError, ConnectionError)):
                raise
            raise await _failed(layer, image, error) from error
        else:
            break
    return image


def _layers(options: ModalOptions, request: PrepareRequest, context: Context) -> Sequence[Layer]:
    """The whole recipe. Reads the Dockerfile and `.dockerignore`."""
    root = context.sandbox_root or PurePosixPath("/app")
    layers = list(_base(options, request, context))
    if options.include_cwd and request.base is None:
        layers.append(_directory(request.context, root, _ignored(request.context)))
    if request.overlay:
        kept = {Path(path) for path in request.overlay}
        layers.append(_directory(request.context, root, lambda path: path not in kept))
    for source, target in (*_pairs(options, request, root), *request.copy):
        layers.append(_copy(source, target))
    if request.init:
        layers.append(_run(request.init, root, fresh=request.no_cache))
    return layers


def _base(options: ModalOptions, request: PrepareRequest, context: Context) -> Sequence[Layer]:
    fresh = request.no_cache
    if request.base is not None:
        return [_named(request.base, None, fresh=fresh)]
    dockerfile = request.dockerfile or (Path(options.dockerfile) if options.dockerfile else None)
    if dockerfile is not None:
        return _from_dockerfile(request.context / dockerfile, request.context, fresh=fresh)
    if options.image is not None:
        return [_named(options.image, options.python_version, fresh=fresh)]
    version = options.python_version
    return [
        Layer("the default image", lambda _: modal.Image.debian_slim(version, force_build=fresh)),
        Layer("pip install pytest", lambda base: base.pip_install("pytest", force_build=fresh)),
    ]


def _named(name: str, python: str | None, *, fresh: bool) -> Layer:
    if _IMAGE_ID.fullmatch(name):
        return Layer(name, lambda _: modal.Image.from_id(name))
    return Layer(f"FROM {name}", lambda _: modal.Image.from_registry(name, add_python=python, force_build=fresh))


def _from_dockerfile(path: Path, context: Path, *, fresh: bool) -> Sequence[Layer]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PrepareFailed(f"cannot read the Dockerfile {path}: {error}") from error
    how: dict[str, Any] = {"context_dir": context, "ignore": _ignored(context, path), "force_build": fresh}
    stage = single_stage(text)
    if stage is None:
        return [Layer(str(path), lambda _: modal.Image.from_dockerfile(path, **how))]

    def layer(lines: tuple[str, ...]) -> Layer:
        return Layer(lines[-1], lambda base: base.dockerfile_commands("\n".join(lines).split("\n"), **how))

    return [_named(stage.base, None, fresh=fresh), *map(layer, stage.layers)]


def _ignored(context: Path, dockerfile: Path | None = None) -> Callable[[Path], bool]:
    """What `.dockerignore` leaves out, or `<Dockerfile>.dockerignore`, which is stronger."""
    places = [context / ".dockerignore"]
    if dockerfile is not None:
        places.insert(0, dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
    asked = next((place.read_text("utf-8").splitlines() for place in places if place.is_file()), [])
    lines = [line for line in asked if not line.lstrip().startswith("#")]
    return modal.FilePatternMatcher(*lines, *_never(context))


def _never(tree: Path) -> Sequence[str]:
    """Patterns of what is not copied from a tree, whatever else is said."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    outputs = [lock.parent.relative_to(tree) for depth in depths for lock in tree.glob(f"{depth}{_OUTPUT_LOCK}")]
    caches = [f"**/{name}" for name in CACHES]
    return [*caches, *(pattern for path in outputs for pattern in ([str(path)] if path.parts else _OUTPUT))]


def _pairs(options: ModalOptions, request: PrepareRequest, root: PurePosixPath) -> Sequence[tuple[Path, PurePosixPath]]:
    if request.base is not None:
        return []
    pairs = (pair.split(":", 1) for pair in options.copy_dirs)
    return [(request.context / local, root / remote) for local, remote in pairs]


def _copy(source: Path, target: PurePosixPath) -> Layer:
    if source.is_dir():
        return _directory(source, target, modal.FilePatternMatcher(*_never(source)))
    if not source.exists():
        raise PrepareFailed(f"there is no {source} to copy to {target}")
    return Layer(f"copy {source} to {target}", lambda base: base.add_local_file(source, str(target), copy=True))


def _directory(source: Path, target: PurePosixPath, ignored: Callable[[Path], bool]) -> Layer:
    return Layer(
        f"copy {source} to {target}", lambda base: base.add_local_dir(source, str(target), copy=True, ignore=ignored)
    )


def _run(command: str, root: PurePosixPath, *, fresh: bool) -> Layer:
    """A command as a layer, run by a shell in the project's root."""
    place = shlex.quote(str(root))
    script = f"mkdir -p {place} && cd {place} && {{ {command}\n}}"
    line = f"RUN {json.dumps(['/bin/sh', '-c', script])}"
    return Layer(command, lambda base: base.dockerfile_commands([line], force_build=fresh))


async def _failed(layer: Layer, image: modal.Image, error: Exception) -> PrepareFailed:
    lines = (await _last_lines(image)) if isinstance(error, modal_errors.RemoteError) else []
    return PrepareFailed("\n".join([f"{layer.name}: {str(error).strip()}", *lines]))


async def _last_lines(image: modal.Image) -> list[str]:
    """The end of a failed build's log, if Modal has it."""
    text = ""
    with contextlib.suppress(Exception):  # the failure itself is known without it
        async with asyncio.timeout(_LOG_SECS):
            async for entry in image.logs.tail.aio(_LOG_LINES):
                text += str(getattr(entry, "message", entry))
    return text.strip().splitlines()[-_LOG_LINES:]
