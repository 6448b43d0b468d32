"""Images: found, built, with the project's files and a first command as more layers, and carried to other engines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from docker.utils import build
from offload_docker import DockerOptions, DockerProvider

from offload_core.abc import Command, Context, Image, PrepareRequest, SandboxSpec
from offload_core.errors import NotFound, PrepareFailed, ProviderError
from offload_core.kit import run_command
from tests.docker_engine import BASE, Engine

ROOT = PurePosixPath("/work/project")


def provider(engines: Sequence[Engine], **options: Any) -> DockerProvider:
    """A provider of these engines."""
    context = Context(name="docker", sandbox_root=ROOT, max_parallel=2)
    return DockerProvider(DockerOptions(hosts=tuple(engine.url for engine in engines), **options), context)


async def prepared(engine: Engine, project: Path, request: dict[str, Any] | None = None, **options: Any) -> Image:
    """The image of a run in this project."""
    async with provider([engine], **options) as made:
        return await made.prepare(PrepareRequest(context=project, **(request or {})))


def said(engine: Engine, image: Image, *argv: str) -> str:
    """What a command prints in a container of an image."""
    done = engine.docker("run", "--rm", image.id, *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project with a file of each kind."""
    files = {
        "kept.txt": "kept",
        "dropped.txt": "dropped",
        "sub/kept.py": "1",
        "sub/dropped.log": "2",
        "test-results/events.jsonl": "3",
        ".dockerignore": "# comment\ndropped.txt\n**/*.log\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("kept.txt")
    return tmp_path


async def test_an_image_is_used_as_it_is(engine: Engine, place: Path) -> None:
    """Without anything to add, it is the engine's own."""
    image = await prepared(engine, place, image=BASE)
    assert image.id == engine.docker("image", "inspect", "-f", "{{.Id}}", BASE).stdout.strip()


async def test_the_working_tree(engine: Engine, place: Path) -> None:
    """It stands at the project's root, without what `.dockerignore` names and what Offload writes; modes are kept."""
    request = {"exclude": (PurePosixPath("test-results"),)}
    image = await prepared(engine, place, request, image=BASE, include_cwd=True)
    listed = said(engine, image, "sh", "-c", f"cd {ROOT} && find . | sort").split()
    assert listed == [".", "./.dockerignore", "./kept.txt", "./link", "./run.sh", "./sub", "./sub/kept.py"]
    assert said(engine, image, f"{ROOT}/run.sh") == "ran"
    assert said(engine, image, "cat", f"{ROOT}/link") == "kept"
    assert await prepared(engine, place, request, image=BASE, include_cwd=True) == image, (
        "unchanged files, the same layers"
    )
    (place / "kept.txt").write_text("changed")
    assert await prepared(engine, place, request, image=BASE, include_cwd=True) != image


async def test_more_files_and_a_first_command(engine: Engine, place: Path) -> None:
    """Directories and files land where they are to, and the command runs in the project's root, once."""
    (place / "extra").mkdir()
    (place / "kept.txt").write_text("kept\n")
    (place / "extra/a b.txt").write_text("spaces")
    request = {
        "init": "cat 'kept.txt' >\"/from init\" && pwd >>'/from init'",
        "copy": ((place / "kept.txt", PurePosixPath("/else where/one.txt")),),
    }
    image = await prepared(
        engine, place, request, image=BASE, include_cwd=True, copy_dirs=("extra:/opt/extra", "sub:more")
    )
    assert said(engine, image, "cat", "/opt/extra/a b.txt") == "spaces"
    assert said(engine, image, "cat", f"{ROOT}/more/kept.py") == "1"
    assert said(engine, image, "cat", "/else where/one.txt") == "kept"
    assert said(engine, image, "cat", "/from init").split() == ["kept", str(ROOT)]


async def test_a_dockerfile(engine: Engine, place: Path) -> None:
    """It is built with its context; it may stand outside of that."""
    (place / "docker").mkdir()
    (place / "docker/Dockerfile").write_text(f"FROM {BASE}\nCOPY kept.py /copied.py\nRUN echo built >/built\n")
    lines: list[str] = []
    image = await prepared(
        engine, place, {"progress": lines.append}, dockerfile="docker/Dockerfile", context_dir="sub", include_cwd=True
    )
    assert said(engine, image, "cat", "/built", "/copied.py", f"{ROOT}/kept.txt") == "built\n1kept"
    assert any(line.startswith("Step 3/") for line in lines), lines


async def test_a_dockerfile_that_copies_everything(engine: Engine, place: Path) -> None:
    """What Offload writes, and caches, are left out of its context, too: the same layers in the next run."""
    (place / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /app\n")
    request = {"exclude": (PurePosixPath("test-results"),)}
    first = await prepared(engine, place, request, dockerfile="Dockerfile")
    (place / "test-results/events.jsonl").write_text("changed")
    (place / "sub/__pycache__").mkdir()
    assert await prepared(engine, place, request, dockerfile="Dockerfile") == first
    assert said(engine, first, "ls", "/app").split() == ["Dockerfile", "kept.txt", "link", "run.sh", "sub"]


@pytest.mark.parametrize("options", [{"image": BASE, "include_cwd": True}, {"dockerfile": "Dockerfile"}])
async def test_files_that_vanish(
    engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """What others remove while the files are looked for, or once they are listed, is no part of the image."""
    (place / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . {ROOT}\n")
    (place / "test-results/events.jsonl").unlink()

    def listdir(path: str) -> list[str]:
        if str(path).endswith("/test-results"):
            (place / "test-results").rmdir()
        return looking(path)

    def exclude_paths(*arguments: Any, **named: Any) -> set[str]:
        found = listing(*arguments, **named)
        (place / "link").unlink()
        (place / "sub/kept.py").unlink()
        return found

    looking, listing = os.listdir, build.exclude_paths
    monkeypatch.setattr("os.listdir", listdir)
    monkeypatch.setattr("offload_docker._image.exclude_paths", exclude_paths)
    image = await prepared(engine, place, **options)
    listed = said(engine, image, "sh", "-c", f"cd {ROOT} && find . -type f -o -type l | sort").split()
    assert listed == ["./.dockerignore", "./Dockerfile", "./kept.txt", "./run.sh"]


async def test_files_that_cannot_be_read(engine: Engine, place: Path) -> None:
    """They are no fault of the engine, and will not be readable next time."""
    (place / "elsewhere").mkdir()
    (place / "elsewhere/Dockerfile").write_bytes(b"FROM \xff")
    with pytest.raises(PrepareFailed, match="cannot be read"):
        await prepared(engine, place, dockerfile="elsewhere/Dockerfile", context_dir="sub")


async def test_a_build_that_fails(engine: Engine, place: Path) -> None:
    """The failing step and its last lines are in the error, which is not retried."""
    (place / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo fine\nRUN echo the reason >&2; exit 3\nRUN echo never\n")
    with pytest.raises(PrepareFailed) as caught:
        await prepared(engine, place, dockerfile="Dockerfile")
    told = str(caught.value)
    assert "Step 3/" in told
    assert "the reason" in told
    assert "returned a non-zero code: 3" in told
    assert "fine" not in told
    assert not provider([engine]).is_retryable(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, PrepareFailed, "neither `image` nor `dockerfile`"),
        ({"dockerfile": "none/Dockerfile"}, PrepareFailed, "there is no file"),
        ({"image": "offload-no-such-image", "pull": "never"}, NotFound, "no image 'offload-no-such-image'"),
        ({"image": "sha256:" + "0" * 64}, NotFound, "no image"),
        ({"image": BASE, "copy_dirs": ("nowhere:/x",)}, PrepareFailed, "nowhere"),
    ],
)
async def test_what_cannot_be_made(
    engine: Engine, place: Path, options: dict[str, Any], error: type[ProviderError], words: str
) -> None:
    """Each says what is missing, and is not tried again."""
    with pytest.raises(error, match=words) as caught:
        await prepared(engine, place, **options)
    assert not provider([engine]).is_retryable(caught.value)


async def test_a_registry_that_does_not_answer(engine: Engine, place: Path) -> None:
    """It may answer later."""
    with pytest.raises(ProviderError, match="cannot be pulled") as caught:
        await prepared(engine, place, image="127.0.0.1:9/offload-no-such-image:1")
    assert provider([engine]).is_retryable(caught.value)


async def test_an_image_that_is_named_for_one_run(engine: Engine, place: Path) -> None:
    """`--override-image-id` needs no other source, and takes nothing on top."""
    base = engine.docker("image", "inspect", "-f", "{{.Id}}", BASE).stdout.strip()
    assert (await prepared(engine, place, {"base": base}, include_cwd=True)).id == base


async def test_it_is_built_once_and_carried(engine: Engine, another: Engine, place: Path) -> None:
    """Sandboxes on both engines are made from the one image."""
    async with provider([engine, another], image=BASE, include_cwd=True) as docker:
        try:
            image = await docker.prepare(PrepareRequest(context=place))
            assert another.docker("image", "inspect", image.id).returncode == 0
            made = [await docker.create(SandboxSpec(name=f"s{n}", run_id="carried", image=image)) for n in range(2)]
            assert {sandbox.ref.where for sandbox in made} == {engine.url, another.url}
            for sandbox in made:
                assert (await run_command(sandbox, Command(argv=("cat", f"{ROOT}/kept.txt")))).stdout == b"kept"
        finally:
            assert not await docker.terminate_many(await docker.list("carried"))
