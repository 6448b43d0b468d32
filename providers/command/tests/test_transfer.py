"""Files by `upload_command` and `download_command`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from offload_core.abc import Command, Download, Sandbox, Upload
from offload_core.errors import DownloadFailed, RemoteFileMissing
from offload_core.kit import run_command


@contextlib.asynccontextmanager
async def with_commands(folders: Any, **changes: Any) -> AsyncIterator[tuple[Sandbox, PurePosixPath]]:
    """A sandbox whose provider has both commands, and a directory in it."""
    lines = {f"{verb}_command": folders.line(verb, "{sandbox_id} {paths}") for verb in ("upload", "download")}
    async with folders.sandbox(**{**lines, **changes}) as sandbox:
        yield sandbox, PurePosixPath(folders.box(sandbox.ref.id))


async def test_files_travel_by_the_commands(folders: Any, tmp_path: Path) -> None:
    """Bytes with their mode, files and whole directories, of any name, in one call each."""
    tree = tmp_path / "tree"
    (tree / "a b").mkdir(parents=True)
    (tree / "a b" / "quote'd $HOME").write_text("content", encoding="utf-8")

    async with with_commands(folders) as (sandbox, box):
        before = folders.calls()
        uploads = [Upload(b"#!/bin/sh\necho ran", box / "pro gram", mode=0o755), Upload(tree, box / "tree")]
        await sandbox.upload(uploads)
        await sandbox.upload(uploads)
        assert folders.calls() - before == {("upload", sandbox.ref.id): 2}
        assert (await run_command(sandbox, Command(argv=(str(box / "pro gram"),)))).stdout == b"ran\n"
        before = folders.calls()
        await sandbox.download(
            [Download(box / "tree", tmp_path / "x" / "back"), Download(box / "tree", tmp_path / "y")]
        )
        assert folders.calls() - before == {("download", sandbox.ref.id): 1}
        for place in ("x/back", "y"):
            assert (tmp_path / place / "a b" / "quote'd $HOME").read_text(encoding="utf-8") == "content"


async def test_paths_with_a_colon_go_another_way(folders: Any, tmp_path: Path) -> None:
    """They could not be told apart in `{paths}`, so `tar` in the sandbox takes them."""
    async with with_commands(folders) as (sandbox, box):
        await sandbox.upload([Upload(b"content", box / "a:b")])
        await sandbox.download([Download(box / "a:b", tmp_path / "c:d")])
        assert (tmp_path / "c:d").read_bytes() == b"content"
        verbs = {verb for verb, _ in folders.calls()}
        assert "exec" in verbs
        assert not verbs & {"upload", "download"}


async def test_missing_files_are_told_from_failed_downloads(folders: Any, tmp_path: Path) -> None:
    """Whether the command fails or just brings nothing: a file that is not there is RemoteFileMissing, by name."""

    brings_nothing = folders.line("download", "{sandbox_id} {paths}") + " || true"
    for changes in ({}, {"download_command": brings_nothing}):
        async with with_commands(folders, **changes) as (sandbox, box):
            await sandbox.upload([Upload(b"content", box / "there")])
            both = [Download(box / "there", tmp_path / "there"), Download(box / "not there", tmp_path / "not")]
            with pytest.raises(RemoteFileMissing, match="not there") as caught:
                await sandbox.download(both)
            assert str(box / "there") not in str(caught.value)
            assert not (tmp_path / "there").exists()
    async with with_commands(folders, download_command="echo no route >&2; exit 1") as (sandbox, box):
        await sandbox.upload([Upload(b"content", box / "there")])
        with pytest.raises(DownloadFailed, match="no route"):
            await sandbox.download([Download(box / "there", tmp_path / "there")])


async def test_what_comes_is_not_trusted(folders: Any, tmp_path: Path) -> None:
    """A link that comes out of a sandbox is not followed on this machine, and not brought along in a directory."""
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")

    bring = f"""bring() {{
        for pair; do
            target=${{pair#*:}}
            case $pair in
            */link:*) ln -s {secret} "$target" ;;
            *) mkdir "$target" && echo x >"$target/file" && ln -s {secret} "$target/link" ;;
            esac
        done
    }}; bring {{paths}}"""
    async with with_commands(folders, download_command=bring) as (sandbox, box):
        with pytest.raises(RemoteFileMissing):
            await sandbox.download([Download(box / "link", tmp_path / "back")])
        await sandbox.download([Download(box / "tree", tmp_path / "tree")])
        assert [path.name for path in (tmp_path / "tree").iterdir()] == ["file"]
