"""What a sandbox is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from attrs import frozen


@frozen
class Image:
    """A prepared image.

    Attributes:
        id: the backend's name for it, enough to create sandboxes from.
        key: what its content was made from; equal keys, equal content.
    """

    id: str
    key: str = ""


@frozen(kw_only=True)
class PrepareRequest:
    """Everything that an image build needs, in one value.

    Attributes:
        context: the directory on the host that the build may read.
        dockerfile: path on the host, if the project has one.
        base: an image to start from instead of building one.
        overlay: files on the host to lay over the project's root in the image, relative to `context`.
        init: a command run once in the image, as a last layer.
        copy: pairs of host path and absolute path in the image.
        exclude: what Offload itself writes below `context`, relative to it: no part of any image.
        cache_key: what the result may be cached under; empty when it must not be.
        no_cache: build everything anew.
        progress: called with each line that the build prints.
    """

    context: Path
    dockerfile: Path | None = None
    base: str | None = None
    overlay: tuple[PurePosixPath, ...] = ()
    init: str | None = None
    copy: tuple[tuple[Path, PurePosixPath], ...] = ()
    exclude: tuple[PurePosixPath, ...] = ()
    cache_key: str = ""
    no_cache: bool = False
    progress: Callable[[str], None] = lambda line: None
