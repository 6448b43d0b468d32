"""Images: what is in them, what is cached, and how Dockerfiles are cut into layers."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from at_modal import provider
from loopback import Loopback
from offload_modal import ModalProvider, Tuning
from offload_modal._dockerfile import Stage, single_stage

from offload_core.abc import Command, PrepareRequest, SandboxSpec
from offload_core.errors import NotFound, PrepareFailed
from offload_core.kit import run_command

ROOT = PurePosixPath("/work/project")


async def built(maker: ModalProvider, context: Path, **changes: Any) -> str:
    """The image's id."""
    image = await maker.prepare(PrepareRequest(context=context, **changes))
    assert image is not None
    return image.id


async def seen(maker: ModalProvider, context: Path, script: str, **changes: Any) -> str:
    """What a shell script prints in a sandbox of the image."""
    image = await maker.prepare(PrepareRequest(context=context, **changes))
    sandbox = await maker.create(SandboxSpec(name="one", run_id="tests", image=image))
    try:
        done = await run_command(sandbox, Command(argv=("/bin/sh", "-c", script)))
    finally:
        await sandbox.terminate()
    assert done.exit.ok, done
    return done.stdout.decode()


async def check(
    context: Path, script: str, *, options: dict[str, Any] | None = None, root: PurePosixPath = ROOT, **changes: Any
) -> str:
    """What a shell script prints in a sandbox of a provider with these options."""
    async with provider(root=root, **(options or {})) as maker:
        return await seen(maker, context, script, **changes)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("FROM a\n", ()),
        ("FROM a\nRUN b\nCOPY c d\nADD e f\n", (("RUN b",), ("COPY c d",), ("ADD e f",))),
        ("# why\nFROM a\nENV b=1\nWORKDIR /c\nRUN d\n\nCMD e\n", (("ENV b=1", "WORKDIR /c", "RUN d"), ("CMD e",))),
        ("FROM a\nARG b=1\nRUN c\nRUN d\n", (("ARG b=1", "RUN c"), ("ARG b=1", "RUN d"))),
        ('FROM a\nSHELL ["b"]\nRUN c\nENV d=1\n', (('SHELL ["b"]', "RUN c"), ('SHELL ["b"]', "ENV d=1"))),
        ("FROM a\nRUN b \\\n  # why\n  && c\n", (("RUN b \\\n  && c",),)),
        ("from a\nrun b\n", (("run b",),)),
    ],
)
def test_layers(text: str, layers: tuple[tuple[str, ...], ...]) -> None:
    """Each RUN, COPY and ADD ends a layer; what holds only until the end of a build is said again in each."""
    assert single_stage(text) == Stage("a", layers)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a AS b\nRUN c\nFROM d\nCOPY --from=b e f\n",
        "FROM a AS b\nRUN c\n",
        "FROM --platform=linux/amd64 a\n",
        "ARG VERSION=1\nFROM a:$VERSION\n",
        "FROM a\nCOPY --from=b c d\n",
        "FROM a\nRUN <<EOF\nb\nEOF\n",
        "# syntax=docker/dockerfile:1\nFROM a\n",
        "# escape=`\nFROM a\n",
        "FROM a\nONBUILD RUN b\n",
        "",
    ],
)
def test_not_cut(text: str) -> None:
    """What would mean something else in layers is left to the SDK's own builder."""
    assert single_stage(text) is None


async def test_dockerfile(loopback: Loopback, tmp_path: Path) -> None:
    """Variables, directories and arguments hold from one layer to the next, and `.dockerignore` is honoured."""
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:12\nARG WORD=arg\nENV NAME=env\nWORKDIR /there\nCOPY . .\nRUN echo $WORD $NAME $(pwd) >said\n"
    )
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "left").write_text("left")
    (tmp_path / ".dockerignore").write_text("# why\nleft\n")
    said = await check(tmp_path, "cat said; ls", options={"image": None, "dockerfile": "Dockerfile"})
    assert said == "arg env /there\nDockerfile\nkept\nsaid\n"


async def test_layers_are_cached(loopback: Loopback, tmp_path: Path) -> None:
    """The same again builds nothing; a change at the end builds the end; `no_cache` builds all of it anew."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM debian:12\nRUN echo first\nRUN echo second\n")
    async with provider(image=None, dockerfile="Dockerfile") as maker:
        first = await built(maker, tmp_path)
        builds = loopback.calls()["ImageJoinStreaming"]
        assert await built(maker, tmp_path) == first
        assert loopback.calls()["ImageJoinStreaming"] == builds
        dockerfile.write_text("FROM debian:12\nRUN echo first\nRUN echo third\n")
        assert await built(maker, tmp_path) != first
        assert loopback.calls()["ImageJoinStreaming"] == builds + 1
        await built(maker, tmp_path, no_cache=True)
        assert loopback.calls()["ImageJoinStreaming"] > builds + 3


async def test_stages(loopback: Loopback, tmp_path: Path) -> None:
    """A Dockerfile with stages is built by the SDK's own builder."""
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:12 AS first\nRUN echo made >/made\nFROM debian:12\nCOPY --from=first /made /taken\n"
    )
    assert await check(tmp_path, "cat /taken", options={"image": None, "dockerfile": "Dockerfile"}) == "made\n"


async def test_project_and_copies(loopback: Loopback, tmp_path: Path) -> None:
    """The project, directories and files are copied, and the last layer's command runs in the project's root."""
    for name in ("project/kept", "project/build/left", "more/file", "single"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "project" / ".dockerignore").write_text("build\n")
    said = await check(
        tmp_path / "project",
        f"cd {ROOT} && ls && cat from/file /one last",
        options={"include_cwd": True, "copy_dirs": ("../more:from",)},
        copy=((tmp_path / "single", PurePosixPath("/one")),),
        init="pwd >last\ncat kept >>last",
    )
    assert said == f"from\nkept\nlast\nmore/filesingle{ROOT}\nproject/kept"


@pytest.mark.parametrize("output", ["test-results", "."])
async def test_what_changes_is_left_out(loopback: Loopback, tmp_path: Path, output: str) -> None:
    """Caches, and what Offload itself writes, are not copied, with or without a `.dockerignore`."""
    results = tmp_path / output
    for path in (results / "logs" / "log", tmp_path / "a" / "__pycache__" / "a.pyc", tmp_path / "a" / "a.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for name in (".offload.lock", ".offload-files", "events.jsonl", "events.previous.jsonl", "summary.json"):
        (results / name).write_text("")
    look = f"cd {ROOT} && find . -type f"
    assert await check(tmp_path, look, options={"include_cwd": True}) == "./a/a.py\n"
    assert await check(tmp_path, look, options={"copy_dirs": (".:.",)}) == "./a/a.py\n"


async def test_file_that_changes_meanwhile(loopback: Loopback, tmp_path: Path) -> None:
    """A file that changes while it is read is read again; one that never rests is said, and fails the build."""
    file = tmp_path / "file"
    file.write_text("content")

    async def look(rests_after: float, tuning: Tuning | None = None) -> None:
        def touch(line: str) -> None:
            moment = time.time() + rests_after
            os.utime(file, (moment, moment))

        async with provider(include_cwd=True, tuning=tuning) as maker:
            await built(maker, tmp_path, progress=touch)

    with pytest.raises(PrepareFailed, match="was modified during build"):
        await look(rests_after=3600)
    await look(rests_after=0.3, tuning=Tuning(changed_tries=100_000))


async def test_overlay(loopback: Loopback, tmp_path: Path) -> None:
    """Only the files that are named are laid over the root of an image."""
    for name in ("a/changed", "a/same", "same"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    said = await check(
        tmp_path, f"cd {ROOT} && find . -type f", base="debian:12", overlay=(PurePosixPath("a/changed"),)
    )
    assert said == "./a/changed\n"


async def test_base_is_used_as_it_is(loopback: Loopback, tmp_path: Path) -> None:
    """An image that was named on the command line stays what it is, whatever is configured beside it."""
    (tmp_path / "file").write_text("")
    async with provider(image="debian:11", include_cwd=True, copy_dirs=(".:there",)) as maker:
        base = await built(maker, tmp_path, base="debian:12")
        assert await built(maker, tmp_path, base=base) == base
        assert await built(maker, tmp_path) != base


async def test_variables_and_secrets(loopback: Loopback, generation: str, tmp_path: Path) -> None:
    """Every command has the configuration's variables and those of the named secrets; an unknown secret is NotFound."""
    loopback.secret("mine", {"HIDDEN": "from the secret"})
    options = {"env": {"SHOWN": "from the configuration"}, "secrets": ("mine",)}
    assert (
        await check(tmp_path, 'echo "$SHOWN, $HIDDEN"', options=options) == "from the configuration, from the secret\n"
    )
    with pytest.raises(NotFound, match="nobodys"):
        await check(tmp_path, "true", options={"secrets": ("nobodys",)})


async def test_what_cannot_be_built(loopback: Loopback, tmp_path: Path) -> None:
    """A Dockerfile or a directory that is not there is said before anything is built."""
    for options, name in (
        ({"image": None, "dockerfile": "nowhere"}, "nowhere"),
        ({"copy_dirs": ("nothing:there",)}, "nothing"),
    ):
        with pytest.raises(PrepareFailed, match=name):
            await check(tmp_path, "true", options=options)


async def test_progress(loopback: Loopback, tmp_path: Path) -> None:
    """Each layer is said when it begins."""
    (tmp_path / "Dockerfile").write_text("FROM debian:12\nRUN echo first\n")
    lines: list[str] = []
    async with provider(image=None, dockerfile="Dockerfile") as maker:
        await built(maker, tmp_path, progress=lines.append)
    assert lines == ["layer 1 of 2: FROM debian:12", "layer 2 of 2: RUN echo first"]
