"""Checks of `Sandbox.upload` and `Sandbox.download`."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from attrs import evolve

from ..abc import Command, Download, Process, Sandbox, Upload
from ..errors import ProviderError, RemoteFileMissing
from ._checks import Checks, directory, in_sandbox, must, run_shell

NAMES = (
    "plain",
    "two words",
    "quote'd",
    'double"d',
    "new\nline",
    "-dash",
    "$HOME",
    "*",
    "back\\slash",
    "ünï → 名",
    ".dot",
)
_LARGE = 8 << 20

_RUNNING = 'grep -l -s -a -e "OFFLOAD_CHECK=$1" /proc/[0-9]*/environ'
"""Prints where a process is that carries a mark."""


class FileChecks(Checks):
    """Files and directories into and out of a sandbox."""

    @in_sandbox
    async def test_files_round_trip(self, sandbox: Sandbox) -> None:
        """Files of any name and content arrive in one call, and come back in one, byte for byte."""
        contents = {name: name.encode() * 3 for name in NAMES}
        contents |= {"empty": b"", "binary": bytes(range(256)), "large": random.Random(2).randbytes(_LARGE)}
        with directory() as here:
            place = sandbox.scratch / "not" / "yet there"
            (here / "up").mkdir()
            uploads = []
            for number, (name, content) in enumerate(contents.items()):
                source: Path | bytes = content
                if number % 2:
                    source = here / "up" / name
                    source.write_bytes(content)
                uploads.append(Upload(source, place / name))
            await self.succeeds(sandbox.upload(uploads), "`upload` must return")
            await self.succeeds(sandbox.upload(uploads), "`upload` must be idempotent")
            downloads = [Download(place / name, here / "down" / "here" / name) for name in contents]
            await self.succeeds(sandbox.download(downloads), "`download` must return")
            for name, content in contents.items():
                back = (here / "down" / "here" / name).read_bytes()
                must(back == content, f"{name!r} must come back as it went: {len(back)} of {len(content)} bytes")

    @in_sandbox
    async def test_files_many(self, sandbox: Sandbox) -> None:
        """Hundreds of files go in one call; the same source can be wanted twice; nothing to do is no error."""
        with directory() as here:
            place = sandbox.scratch
            await sandbox.upload([])
            await sandbox.download([])
            await sandbox.upload([Upload(str(n).encode(), place / str(n % 7) / str(n)) for n in range(300)])
            wanted = [Download(place / str(n % 7) / str(n), here / str(n)) for n in range(300)]
            wanted.append(Download(place / "0" / "0", here / "again"))
            await sandbox.download(wanted)
            back = [(here / str(n)).read_text() for n in range(300)]
            must(back == [str(n) for n in range(300)], "all files of one call must arrive, each in its place")
            again = here / "again"
            must(again.is_file() and again.read_text() == "0", "a file that is wanted twice must arrive twice")

    @in_sandbox
    async def test_files_mode(self, sandbox: Sandbox) -> None:
        """`Upload.mode` and the mode of a file on the host hold in the sandbox: a program can be run."""
        with directory() as here:
            script = here / "program"
            script.write_text("#!/bin/sh\necho ran\n")
            script.chmod(0o755)
            one, two = sandbox.scratch / "one", sandbox.scratch / "two"
            await sandbox.upload([Upload(script, one), Upload(script.read_bytes(), two, mode=0o755)])
            done = await run_shell(sandbox, '"$1" && "$2"', str(one), str(two))
            must(done.stdout == b"ran\nran\n", f"an uploaded program must be executable: {done.stderr!r}")

    @in_sandbox
    async def test_files_directories(self, sandbox: Sandbox) -> None:
        """Directories travel whole, also empty ones; what stands there already is overwritten or added to."""
        with directory() as here:
            tree = here / "tree"
            (tree / "a" / "b").mkdir(parents=True)
            (tree / "empty").mkdir()
            (tree / "a" / "b" / "file").write_text("new")
            target = sandbox.scratch / "tree"
            await sandbox.upload([Upload(b"old", target / "a" / "b" / "file"), Upload(b"kept", target / "kept")])
            await sandbox.upload([Upload(tree, target)])
            await run_shell(sandbox, 'ln -s /etc/passwd "$1/a/link"', str(target))
            await sandbox.download([Download(target, here / "back"), Download(target / "kept", here / "kept")])
            found = {str(path.relative_to(here / "back")) for path in (here / "back").rglob("*")}
            asked = {"a", "a/b", "a/b/file", "empty", "kept"}
            must(found == asked, f"a directory must arrive whole, without its links: {found} for {asked}")
            must((here / "back" / "a" / "b" / "file").read_text() == "new", "`upload` must overwrite")
            must((here / "kept").read_text() == "kept", "a directory and a file in it can be wanted in one call")

    @in_sandbox
    async def test_files_missing(self, sandbox: Sandbox) -> None:
        """A file that is not in the sandbox is RemoteFileMissing, which is not retried; the others are left alone."""
        with directory() as here:
            there, missing = sandbox.scratch / "there", sandbox.scratch / "missing"
            await sandbox.upload([Upload(b"x", there)])
            both = [Download(there, here / "there"), Download(missing, here / "missing")]
            for files in (both[1:], both):
                try:
                    await sandbox.download(files)
                except RemoteFileMissing as error:
                    told = str(missing) in str(error)
                    must(told, f"the message must name the missing file {missing}: {error}")
                    must(not self.maker.is_retryable(error), "RemoteFileMissing must not be retried")
                else:
                    must(False, "`download` of a file that is not there must raise RemoteFileMissing")
                must(not list(here.iterdir()), "when a file is missing, `download` must write nothing")

    @in_sandbox
    async def test_files_cannot_be_written(self, sandbox: Sandbox) -> None:
        """An upload that cannot be done raises a ProviderError; the sandbox goes on."""
        nowhere = Upload(b"x", PurePosixPath("/dev/null/not/a/directory"))
        for file in (nowhere, Upload(Path("/no/such/file"), sandbox.scratch / "file")):
            with suppress(ProviderError):
                await sandbox.upload([file])
                must(False, f"`upload` of {file.source!r} to {file.target} must raise a ProviderError")
        must((await sandbox.probe()).is_dead is False, "a failed `upload` must not end the sandbox")

    @in_sandbox
    async def test_files_cancelled(self, sandbox: Sandbox) -> None:
        """A cancelled transfer ends, and the sandbox can be used as before."""
        content = random.Random(3).randbytes(4 * _LARGE)
        with directory() as here:
            target = sandbox.scratch / "file"
            await sandbox.upload([Upload(content, target)])
            uploads, downloads = [Upload(content, target)], [Download(target, here / "file")]
            with _marking(sandbox) as mark:
                for moment in (0, 1, 3, 9, 27, None):
                    await self.cancelled(sandbox.upload(uploads), moment, "a cancelled `upload` must return")
                    back = sandbox.download(downloads)
                    await self.cancelled(back, moment, "a cancelled `download` must return")

            async def over() -> bool:
                return not (await run_shell(sandbox, _RUNNING, mark)).stdout

            await self.eventually(over, "a cancelled transfer must leave no command running in the sandbox")
            await self._still_works(sandbox, here)

    async def _still_works(self, sandbox: Sandbox, here: Path) -> None:
        target = sandbox.scratch / "after"
        await self.succeeds(sandbox.upload([Upload(b"after", target)]), "`upload` must work after a cancelled one")
        await self.succeeds(sandbox.download([Download(target, here / "after")]), "`download` must work after, too")
        must((here / "after").read_bytes() == b"after", "files must arrive whole after a cancelled transfer")


@contextmanager
def _marking(sandbox: Sandbox) -> Iterator[str]:
    """Meanwhile, every command that is started through the handle carries a mark, also by the provider's own code."""
    mark = secrets.token_hex(8)
    start = sandbox.exec

    async def marked(command: Command) -> Process:
        return await start(evolve(command, env={**command.env, "OFFLOAD_CHECK": mark}))

    sandbox.exec = marked  # type: ignore[method-assign]
    try:
        yield mark
    finally:
        sandbox.exec = start  # type: ignore[method-assign]
