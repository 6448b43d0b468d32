"""Files by `upload_command` and `download_command`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from offload_core.abc import Command, Download, Sandbox, SandboxSpec, Upload
from offload_core.errors import DownloadFailed, RemoteFileMissing


def with_commands(folders: Any, use: Callable[[Sandbox, PurePosixPath], Awaitable[None]], **changes: Any) -> None:
    """Use a sandbox whose provider has both commands, and a directory in it."""

    async def check() -> None:
        lines = {f"{verb}_command": folders.line(verb, "{sandbox_id} {paths}") for verb in ("upload", "download")}
        provider = folders.provider(**{**lines, **changes})
        sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
        await use(sandbox, PurePosixPath(folders.box(sandbox.ref.id)))
        await sandbox.terminate()
        await provider.aclose()

    asyncio.run(check())


def test_files_travel_by_the_commands(folders: Any, tmp_path: Path) -> None:
    """Bytes with their mode, files and whole directories, of any name, in one call each."""
    tree = tmp_path / "tree"
    (tree / "a b").mkdir(parents=True)
    (tree / "a b" / "quote'd $HOME").write_text("content", encoding="utf-8")

    async def use(sandbox: Sandbox, box: PurePosixPath) -> None:
        before = folders.calls()
        uploads = [Upload(b"#!/bin/sh\necho ran", box / "pro gram", mode=0o755), Upload(tree, box / "tree")]
        await sandbox.upload(uploads)
        await sandbox.upload(uploads)
        assert folders.calls() - before == {("upload", sandbox.ref.id): 2}
        assert (await sandbox.run(Command(argv=(str(box / "pro gram"),)))).stdout == b"ran\n"
        before = folders.calls()
        await sandbox.download(
            [Download(box / "tree", tmp_path / "x" / "back"), Download(box / "tree", tmp_path / "y")]
        )
        assert folders.calls() - before == {("download", sandbox.ref.id): 1}
        for place in ("x/back", "y"):
            assert (tmp_path / place / "a b" / "quote'd $HOME").read_text(encoding="utf-8") == "content"

    with_commands(folders, use)


def test_paths_with_a_colon_go_another_way(folders: Any, tmp_path: Path) -> None:
    """They could not be told apart in `{paths}`, so `tar` in the sandbox takes them."""

    async def use(sandbox: Sandbox, box: PurePosixPath) -> None:
        await sandbox.upload([Upload(b"content", box / "a:b")])
        await sandbox.download([Download(box / "a:b", tmp_path / "c:d")])
        assert (tmp_path / "c:d").read_bytes() == b"content"
        verbs = {verb for verb, _ in folders.calls()}
        assert "exec" in verbs
        assert not verbs & {"upload", "download"}

    with_commands(folders, use)


def test_missing_files_are_told_from_failed_downloads(folders: Any, tmp_path: Path) -> None:
    """Whether the command fails or just brings nothing: a file that is not there is RemoteFileMissing, by name."""

    async def missing(sandbox: Sandbox, box: PurePosixPath) -> None:
        await sandbox.upload([Upload(b"content", box / "there")])
        both = [Download(box / "there", tmp_path / "there"), Download(box / "not there", tmp_path / "not")]
        with pytest.raises(RemoteFileMissing, match="not there") as caught:
            await sandbox.download(both)
        assert str(box / "there") not in str(caught.value)
        assert not (tmp_path / "there").exists()

    async def failing(sandbox: Sandbox, box: PurePosixPath) -> None:
        await sandbox.upload([Upload(b"content", box / "there")])
        with pytest.raises(DownloadFailed, match="no route"):
            await sandbox.download([Download(box / "there", tmp_path / "there")])

    with_commands(folders, missing)
    with_commands(folders, missing, download_command=folders.line("download", "{sandbox_id} {paths}") + " || true")
    with_commands(folders, failing, download_command="echo no route >&2; exit 1")


def test_what_comes_is_not_trusted(folders: Any, tmp_path: Path) -> None:
    """A link that comes out of a sandbox is not followed on this machine, and not brought along in a directory."""
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")

    async def use(sandbox: Sandbox, box: PurePosixPath) -> None:
        with pytest.raises(RemoteFileMissing):
            await sandbox.download([Download(box / "link", tmp_path / "back")])
        await sandbox.download([Download(box / "tree", tmp_path / "tree")])
        assert [path.name for path in (tmp_path / "tree").iterdir()] == ["file"]

    bring = f"""bring() {{
        for pair; do
            target=${{pair#*:}}
            case $pair in
            */link:*) ln -s {secret} "$target" ;;
            *) mkdir "$target" && echo x >"$target/file" && ln -s {secret} "$target/link" ;;
            esac
        done
    }}; bring {{paths}}"""
    with_commands(folders, use, download_command=bring)
