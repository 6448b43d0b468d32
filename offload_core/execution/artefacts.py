"""Brings files that tests wrote from sandboxes: `[report] download_globs`.

Once a session has ended, one command in its sandbox packs what matches and is new, and one download brings it. What
goes wrong there is a warning: it is no test's failure, and keeps the run for a bounded time only.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from attrs import define, evolve, field, frozen

from ..abc import Command, Download, Launch
from ..errors import DownloadFailed, OffloadError, ReportError, SandboxDead, SandboxLost
from ..events import ArtefactsCollected, Bus, Warned
from ..kit import Member, members, unpack
from ..liveness import DeathWatch
from ..retry import RetryPolicy
from .timing import Timing

VARIABLE = "OFFLOAD_ARTEFACTS"
"""Names a directory of the session's own, in its environment: what is in it is looked at, too."""

MAX_BYTES = 1 << 30
"""Of one session. More is not brought at all."""

MAX_FILES = 10_000
"""Of one session; the others are left out."""

# BusyBox's find compares whole seconds: what the session writes must not be of the same one as the marker.
_BEGIN = """\
mkdir -p -- "$1" && : >"$2" || exit
case $(find --help 2>&1) in *BusyBox*) sleep 1 ;; esac
"""

# `find` may start `tar` several times: each output is several archives one after the other, or nothing.
_COLLECT = """\
root=$1 own=$2 marker=$3 skip=$4 archive=$5 limit=$6
shift 6
for glob do shift; set -- "$@" -o -path "./$glob"; done
shift
pack() {
    cd -- "$1" || exit
    into=$2
    shift 2
    find . "$@" -exec tar -cf - {} + | head -c "$limit" >"$into"
    wc -c <"$into"
}
(pack "$root" "$archive" -path "$skip" -prune -o -type f -newer "$marker" \\( "$@" \\)) &&
(pack "$own" "$archive.own" -type f \\( "$@" \\))
"""
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@frozen(kw_only=True)
class ArtefactRequest:
    """What to bring.

    Attributes:
        globs: patterns as in `find -path`, relative to the project's root in the sandbox: `*` crosses `/`. `**/` in
            front stands for any directories or none.
        failure_only: only from sessions in which something failed.
        output_dir: where reports go, on this host.
        claim: gives the path for a file's name in `output_dir`, or raises ReportError.
        owns: whether a file on this host is one that the run itself wrote.
    """

    globs: tuple[str, ...]
    failure_only: bool
    output_dir: Path
    claim: Callable[[str], Path]
    owns: Callable[[Path], bool]


@define(eq=False)
class _Session:
    """Where one session's files are, and where they go."""

    launch: Launch
    watch: DeathWatch
    sandbox: str

    @property
    def marker(self) -> PurePosixPath:
        return self.launch.artefacts.with_name(f"{self.launch.name}.began")

    @property
    def archive(self) -> PurePosixPath:
        """The same for all sessions of a sandbox: the next one overwrites it."""
        return self.launch.artefacts.with_name("archive.tar")


@define
class _Kept:
    """What came of it.

    Attributes:
        files: names relative to `output_dir`.
        size: their bytes.
        left_out: whether there were too many.
        trouble: why some could not be brought; empty where all could.
        taken: names that files have or are about to get.
        numbers: the first that may be free for a name, where it is
            not 0, for a file (False) and a directory (True).
        stopped: nobody waits for it any more.
    """

    files: dict[str, None] = field(factory=dict)
    size: int = 0
    left_out: bool = False
    trouble: str = ""
    taken: set[str] = field(factory=set)
    numbers: dict[tuple[str, bool], int] = field(factory=dict)
    stopped: bool = False


def _forms(glob: str) -> tuple[str, ...]:
    return (glob, glob.removeprefix("**/")) if glob.startswith("**/") else (glob,)


class Artefacts:
    """Collects for all sandboxes of a run. Its methods raise nothing but SandboxDead and SandboxLost."""

    def __init__(self, request: ArtefactRequest, retry: RetryPolicy, bus: Bus, timing: Timing) -> None:
        self._request = request
        self._timing = timing
        self._retry = retry
        self._bus = bus
        self._globs = tuple(form for glob in request.globs for form in _forms(glob.removeprefix("./")))
        self._given_up: set[str] = set()
        self._unmarked: set[str] = set()
        self._said: set[str] = set()
        self._shared: dict[tuple[str, str], str] = {}
        for glob in self._globs:
            if glob.startswith("/") or ".." in PurePosixPath(glob).parts:
                self._warn(f"download_globs: {glob!r} matches nothing: patterns are relative to the project's root")

    async def begin(self, launch: Launch, watch: DeathWatch) -> Launch:
        """Before a session opens: what is there now is not its own. Returns the launch with `VARIABLE` set."""
        session = _Session(launch, watch, watch.sandbox.ref.name)
        try:
            async with asyncio.timeout(self._timing.collect):
                await self._run(session, _BEGIN, str(launch.artefacts), str(session.marker))
        except (SandboxDead, SandboxLost):
            raise
        except Exception as error:
            self._unmarked.add(launch.name)
            self._failed(session, error)
            return launch
        return evolve(launch, env={**launch.env, VARIABLE: str(launch.artefacts)})

    async def collect(self, launch: Launch, watch: DeathWatch, *, failed: bool) -> None:
        """After a session has ended. `failed`: something failed in it, or it did not end well."""
        session = _Session(launch, watch, watch.sandbox.ref.name)
        skipped = self._request.failure_only and not failed
        if skipped or session.sandbox in self._given_up or launch.name in self._unmarked:
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timing.collect):
                files, size = await self._collect(session)
        except (SandboxDead, SandboxLost):
            raise
        except Exception as error:
            if isinstance(error, TimeoutError):
                self._given_up.add(session.sandbox)
            return self._failed(session, error)
        if files:
            self._bus.emit(
                ArtefactsCollected(
                    sandbox=session.sandbox,
                    session=launch.name,
                    files=files,
                    size=size,
                    seconds=round(time.monotonic() - began, 6),
                )
            )

    async def _collect(self, session: _Session) -> tuple[tuple[str, ...], int]:
        launch, archive = session.launch, session.archive
        words = (launch.root, launch.artefacts, session.marker, self._skipped(session), archive, MAX_BYTES + 1)
        said = await self._run(session, _COLLECT, *map(str, words), *self._globs)
        sizes = [int(size) for size in said.decode(errors="replace").split()]
        if sum(sizes) > MAX_BYTES:
            raise DownloadFailed(f"they are more than {MAX_BYTES >> 30} GiB; narrow `[report] download_globs`")
        with tempfile.TemporaryDirectory(prefix="offload-artefacts-") as directory:
            downloads = [
                Download(source, Path(directory, source.name))
                for source, size in zip((archive, archive.with_name(f"{archive.name}.own")), sizes, strict=True)
                if size
            ]
            if not downloads:
                return (), 0
            sandbox = session.watch.sandbox
            await self._retry.call("download", lambda: sandbox.download(downloads), watch=session.watch)
            if sum(download.target.stat().st_size for download in downloads) > MAX_BYTES:
                raise DownloadFailed("they are more than the sandbox said")
            kept = _Kept()
            try:
                await asyncio.to_thread(self._keep, session, [download.target for download in downloads], kept)
            finally:
                kept.stopped = True
        if kept.trouble:
            self._warn(f"some files of session {launch.name} could not be brought: {kept.trouble}")
        if kept.left_out:
            self._warn(f"more than {MAX_FILES:,} files match `[report] download_globs`: some are left out")
        return tuple(kept.files), kept.size

    async def _run(self, session: _Session, script: str, *words: str) -> bytes:
        """Run a script in the sandbox and return its output; what it complains of is a warning."""
        command = Command(argv=("/bin/sh", "-c", script, "offload-artefacts", *words), env={"COPYFILE_DISABLE": "1"})
        process = await session.launch.executor.exec(command)
        try:
            done = await session.watch.guard(process.communicate())
        except BaseException:
            with contextlib.suppress(Exception):  # it only reads; and what is dead is not asked
                async with asyncio.timeout(self._timing.abandon):
                    await session.watch.guard(process.kill())
            raise
        complaint = done.stderr[-1000:].decode(errors="replace").strip()
        if not done.exit.ok:
            raise DownloadFailed(f"{done.exit}: {complaint}")
        for line in complaint.splitlines():
            self._warn(f"not everything that `[report] download_globs` names could be read: {line}")
        return done.stdout

    def _skipped(self, session: _Session) -> str:
        """Where files are that the run itself writes, as a pattern relative to the root; empty if there are none."""
        root, output = Path(session.launch.root), self._request.output_dir
        below = session.watch.sandbox.shares_root and root in output.parents
        return re.sub(r"([*?\[\\])", r"\\\1", f"./{output.relative_to(root)}") if below else ""

    # -- on this host, in a thread --------------------------------------------------------------------------------

    def _keep(self, session: _Session, archives: Sequence[Path], kept: _Kept) -> None:
        """Take the files out of archives, each to a name that nothing has yet; ends soon once it is stopped."""
        for path in archives:
            targets: dict[str, Path] = {}
            try:
                with path.open("rb") as archive:
                    downloads = self._claimed(session, archive, kept, targets)
                    if kept.stopped:
                        return
                    archive.seek(0)
                    unpack(archive, downloads, joined=True)
            except OffloadError as error:
                kept.trouble = kept.trouble or str(error)
            for name, target in targets.items():  # nothing was there before: what is there now was brought
                if target.is_file():
                    kept.files[name] = None
                    kept.size += target.stat().st_size

    def _claimed(
        self, session: _Session, archive: IO[bytes], kept: _Kept, targets: dict[str, Path]
    ) -> tuple[Download, ...]:
        """What to take out of an archive; adds to `targets` the path of each name that it claims."""
        shared = session.watch.sandbox.shares_root and Path(archive.name).name == session.archive.name
        downloads: dict[PurePosixPath, Download] = {}
        directories: set[PurePosixPath] = set()
        for member in members(archive, digests=shared):
            if kept.stopped:
                break
            if member.name in downloads or (shared and self._is_known(session, member)):
                continue
            if len(kept.taken) == MAX_FILES:
                kept.left_out = True
                break
            if member.name in directories or not downloads.keys().isdisjoint(member.name.parents):
                kept.trouble = kept.trouble or f"{str(member.name)!r} is a file and a directory"
                continue
            try:
                name = self._free(session, member.name, kept)
                targets[name] = self._request.claim(name)
            except (ReportError, OSError) as error:
                kept.trouble = kept.trouble or str(error)
                continue
            kept.taken.add(name)
            directories.update(member.name.parents)
            downloads[member.name] = Download(PurePosixPath("/", member.name), targets[name])
        return tuple(downloads.values())

    def _is_known(self, session: _Session, member: Member) -> bool:
        """Whether a file that several sandboxes see is the run's own, or was brought from another as it is now."""
        if self._request.owns(Path(session.launch.root, member.name)):
            return True
        first = self._shared.setdefault((str(member.name), member.digest), session.launch.name)
        return first != session.launch.name

    def _free(self, session: _Session, path: PurePosixPath, kept: _Kept) -> str:
        """A name in `output_dir`. What stands there is not ours, as ours were removed before the run."""
        *above, last = _UNSAFE.sub("_", str(path)).split("/")
        name = f"{session.sandbox}/{session.launch.name}"
        for part in above:
            name = self._numbered(f"{name}/{part}", kept, directory=True)
        return self._numbered(f"{name}/{last}", kept, directory=False)

    def _numbered(self, name: str, kept: _Kept, *, directory: bool) -> str:
        """The name, with a number where something has it; a directory may be there already."""
        number = kept.numbers.get((name, directory), 0)
        while True:
            free = f"{name}~{number}" if number else name
            path = self._request.output_dir / free
            if free not in kept.taken and (not path.exists() or (directory and path.is_dir())):
                return free
            number += 1
            kept.numbers[name, directory] = number

    # -- what went wrong ------------------------------------------------------------------------------------------

    def _failed(self, session: _Session, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            why = f"that took longer than {self._timing.collect:g} s"
        else:
            why = str(error) if isinstance(error, OffloadError) else repr(error)
        self._warn(f"the files of session {session.launch.name} could not be brought: {why}")

    def _warn(self, message: str) -> None:
        """Say it once a run."""
        if message not in self._said:
            self._said.add(message)
            self._bus.emit(Warned(message))
