"""The image that containers are made from: found, pulled or built, with the project's files as more layers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from attrs import field, frozen
from docker import APIClient
from docker.errors import APIError, BuildError, ImageNotFound
from docker.utils import parse_repository_tag
from docker.utils.build import exclude_paths

from offload_core.abc import PrepareRequest
from offload_core.errors import AuthenticationFailed, ConnectionLost, CreateFailed, NotFound, PrepareFailed
from offload_core.kit import CACHES, portable

from ._options import DockerOptions

_LAST_LINES = 20
_CONTENT = "content"


@frozen
class Recipe:
    """What the image of a run is to be made from.

    Args:
        root: the project's root in a sandbox.
        labels: of what is built.
        stop: set when nobody waits for it any more.
    """

    options: DockerOptions
    request: PrepareRequest
    root: PurePosixPath
    labels: Mapping[str, str] = field(factory=dict)
    stop: threading.Event = field(factory=threading.Event)

    def make(self, client: APIClient) -> str:
        """Find, pull or build the image; returns the engine's id of it. Blocks for as long as that takes.

        Raises:
            PrepareFailed, NotFound, AuthenticationFailed, ConnectionLost: as `Provider.prepare`.
            APIError: the engine's answer to anything else.
        """
        options, request = self.options, self.request
        if request.base is not None:
            return self._found(client, request.base)
        if options.image is not None:
            base = self._found(client, options.image)
        elif options.dockerfile is not None:
            base = self._build_base(client, options.dockerfile)
        else:
            raise PrepareFailed("neither `image` nor `dockerfile` is set in [provider]")
        return self._build_layers(client, base)

    def _found(self, client: APIClient, name: str) -> str:
        if self.options.pull == "always" and not name.startswith("sha256:"):
            self._pull(client, name)
        try:
            return str(client.inspect_image(name)["Id"])
        except ImageNotFound as error:
            if self.options.pull == "never" or name.startswith("sha256:"):
                raise NotFound(f"the engine has no image {name!r}, and is not to pull it") from error
        self._pull(client, name)
        return str(client.inspect_image(name)["Id"])

    def _pull(self, client: APIClient, name: str) -> None:
        repository, tag = parse_repository_tag(name)
        try:
            self._follow(client.pull(repository, tag=tag or "latest", stream=True, decode=True))
        except APIError as error:
            raise _pull_failed(name, error.explanation or str(error)) from error
        except BuildError as error:
            raise _pull_failed(name, error.msg) from error

    def _build_base(self, client: APIClient, dockerfile: str) -> str:
        project = self.request.context
        context = project / (self.options.context_dir or "")
        if not context.is_dir():
            raise PrepareFailed(f"there is no directory {context}: see `context_dir` in [provider]")
        path = project / dockerfile
        if not path.is_file():
            raise PrepareFailed(f"there is no file {path}: see `dockerfile` in [provider]")
        real, tree = path.resolve(), context.resolve()
        name = str(real.relative_to(tree)) if real.is_relative_to(tree) else _DOCKERFILE
        return self._built(client, partial(self._write_context, context, path, name), name)

    def _write_context(self, tree: Path, dockerfile: Path, name: str, archive: IO[bytes]) -> None:
        """Write what a Dockerfile sees as a tar archive. That file gets a name in it if it stands elsewhere."""
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in _files(tree, _patterns(self.request, tree), name):
                if not path == name == _DOCKERFILE:
                    with contextlib.suppress(FileNotFoundError):  # it has gone since it was listed
                        tar.add(tree / path, path, recursive=False)
            if name == _DOCKERFILE:
                _add_text(tar, name, dockerfile.read_text("utf-8"))

    def _build_layers(self, client: APIClient, base: str) -> str:
        """The project's files and the first command, on top of an image, in the engine's own layer cache."""
        layers = Layers(base, str(self.options.user or client.inspect_image(base)["Config"].get("User") or ""))
        if self.options.include_cwd:
            layers.copy(self.request.context, self.root, ignored=_patterns(self.request, self.request.context))
        for each in self.options.copy_dirs:
            local, _, remote = each.partition(":")
            layers.copy(self.request.context / local, self.root / remote)
        for source, target in self.request.copy:
            layers.copy(source, target)
        if self.request.init is not None:
            layers.run(self.request.init, self.root)
        if layers.empty:
            return base
        return self._built(client, layers.write, "Dockerfile")

    def _built(self, client: APIClient, write: Callable[[IO[bytes]], None], dockerfile: str) -> str:
        with tempfile.TemporaryFile() as context:
            with _readable():
                write(context)
            context.seek(0)
            progress = client.build(
                fileobj=context,
                dockerfile=dockerfile,
                custom_context=True,
                decode=True,
                rm=True,
                forcerm=True,
                nocache=self.request.no_cache,
                labels=dict(self.labels),
            )
            try:
                image = self._follow(progress)
            except BuildError as error:
                raise PrepareFailed(f"the image cannot be built: {error.msg}") from error
        if image is None:
            raise PrepareFailed("the engine said neither that the image was built nor why not")
        return image

    def _follow(self, messages: Iterable[Mapping[str, Any]]) -> str | None:
        """Show what a build or a pull says, and return the id of what was built.

        Raises:
            BuildError: it failed: the step, the error and the last lines.
        """
        image, step, failure = None, "", ""
        last: deque[str] = deque(maxlen=_LAST_LINES)
        for message in messages:
            if self.stop.is_set():
                raise PrepareFailed("not wanted any more")
            for line in _lines(message):
                self.request.progress(line)
                last.append(line)
                if line.startswith("Step "):
                    step = line
                    last.clear()
            image = message.get("aux", {}).get("ID", image)
            if error := message.get("error"):
                failure = "\n".join([*([f"in {step}"] if step else []), str(error).strip(), *last])
        if failure:
            raise BuildError(failure, iter(()))
        return image


class Layers:
    """A generated Dockerfile and its context."""

    def __init__(self, base: str, user: str) -> None:
        self._lines = [f"FROM {base}"]
        self._owner = f"--chown={user} " if user else ""
        self._sources: list[tuple[Path, list[str]]] = []

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return len(self._lines) == 1

    def copy(self, source: Path, target: PurePosixPath, ignored: Iterable[str] = ()) -> None:
        """Add a file or a directory, without what the patterns of a `.dockerignore` name."""
        if not source.exists():
            raise PrepareFailed(f"there is no {source}, which is to be copied into the image")
        name = f"{len(self._sources)}"
        source = source.resolve()
        if source.is_dir():
            self._sources.append((source, _files(source, ignored, dockerfile=_NONE)))
            words = [f"{name}/", f"{target}/"]
        else:
            self._sources.append((source, [""]))
            words = [f"{name}/{_CONTENT}", str(target)]
        self._lines.append(f"COPY {self._owner}{json.dumps(words, ensure_ascii=False)}")

    def run(self, command: str, cwd: PurePosixPath) -> None:
        """Add what a shell command changes, run in a directory."""
        self._lines += [f"WORKDIR {cwd}", f"RUN {json.dumps(['/bin/sh', '-c', command], ensure_ascii=False)}"]

    def write(self, context: IO[bytes]) -> None:
        """Write the whole as a tar archive."""
        with tarfile.open(fileobj=context, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            _add_text(tar, "Dockerfile", "\n".join([*self._lines, ""]))
            for number, (source, paths) in enumerate(self._sources):
                directory = tarfile.TarInfo(f"{number}/")
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(directory)
                for path in paths:
                    with contextlib.suppress(FileNotFoundError):  # it has gone since it was listed
                        name = f"{number}/{path or _CONTENT}"
                        tar.add(source / path, name, recursive=False, filter=_anonymous)


_DOCKERFILE = ".offload-dockerfile"
_NONE = "\0"  # no file has this name: exclude_paths must not make an exception for the project's own Dockerfile


def _files(tree: Path, ignored: Iterable[str], dockerfile: str, looks: int = 3) -> list[str]:
    """What of a tree the patterns of a `.dockerignore` leave, and the Dockerfile: paths relative to it, sorted."""
    with _readable():
        patterns = list(ignored)
        try:
            return sorted(exclude_paths(str(tree), [*patterns], dockerfile=dockerfile))
        except FileNotFoundError:  # a directory has gone while it was looked into
            if looks == 1:
                raise
    return _files(tree, patterns, dockerfile, looks - 1)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without what would make the same content another layer on another machine; sockets and devices not at all."""
    info.mtime = 0
    return portable(info)


def _patterns(request: PrepareRequest, tree: Path) -> Iterator[str]:
    """What of a tree stays out of the image: what `.dockerignore` says, caches, and what Offload itself writes."""
    file = tree / ".dockerignore"
    if file.is_file():
        for line in file.read_text("utf-8", errors="surrogateescape").splitlines():
            if (pattern := line.strip()) and not pattern.startswith("#"):
                yield pattern
    yield from (f"**/{name}" for name in CACHES)
    for path in request.exclude:
        inside = os.path.relpath(request.context / path, tree)
        if not inside.startswith(".."):
            yield inside


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """A file of the user's that cannot be read is no fault of the engine, and will not be readable next time."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise PrepareFailed(f"the files for the image cannot be read: {error}") from error


def _lines(message: Mapping[str, Any]) -> list[str]:
    if "stream" in message:
        return [line for line in str(message["stream"]).splitlines() if line.strip()]
    status = message.get("status")
    if status and "progress" not in message:
        return [f"{message['id']}: {status}" if "id" in message else str(status)]
    return []


def _pull_failed(name: str, said: str) -> Exception:
    """What a registry answers arrives as text."""
    lower = said.lower()
    if "toomanyrequests" in lower or "rate limit" in lower:
        return PrepareFailed(f"{name!r} cannot be pulled: {said.strip()}")
    if "unauthorized" in lower or "authentication required" in lower:
        return AuthenticationFailed(f"{name!r} cannot be pulled: {said.strip()}; see `docker login`")
    if any(word in lower for word in ("not found", "manifest unknown", "does not exist", "invalid reference")):
        return NotFound(f"there is no image {name!r} on the engine, and it cannot be pulled: {said.strip()}")
    return ConnectionLost(f"{name!r} is not on the engine, and cannot be pulled: {said.strip()}")


def load(client: APIClient, content: Iterable[bytes]) -> None:
    """Load an image that another engine has saved. Blocks.

    Raises:
        CreateFailed: the engine could not take it.
    """
    for message in client.load_image(content):
        if error := message.get("error"):
            raise CreateFailed(f"the image could not be loaded: {error}")
