"""What commands of a local sandbox see: variables, directories, and with `isolation = "copy"` a tree of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import Command, Context, SandboxSpec, Severity
from offload_core.errors import CreateFailed
from offload_core.kit import run_command


async def _run(project_dir: Path, options: LocalOptions, *scripts: str, **spec: object) -> list[str]:
    """What each script prints, each in a sandbox of its own, all alive at the same time."""
    async with LocalProvider(options, Context(name="local", project_dir=project_dir)) as provider:
        specs = [
            SandboxSpec(name=f"s{n}", run_id="run", **spec)  # type: ignore[arg-type]
            for n in range(len(scripts))
        ]
        sandboxes = await asyncio.gather(*map(provider.create, specs))
        printed = []
        for sandbox, script in zip(sandboxes, scripts, strict=True):
            done = await run_command(sandbox, Command(argv=("/bin/sh", "-c", script)))
            assert done.exit.ok, done
            printed.append(done.stdout.decode())
        assert await provider.terminate_many([sandbox.ref for sandbox in sandboxes]) == {}
        return printed


async def test_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables come from Offload, then the provider's `env`, then the spec's; OFFLOAD_ROOT is the root."""
    for name in ("A", "B", "C"):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("OFFLOAD_PROVIDER__TYPE", "secret")
    options = LocalOptions(env={"B": "options", "C": "options"})
    script = 'echo "$A $B $C $OFFLOAD_ROOT $OFFLOAD_PROVIDER__TYPE"; pwd'
    (printed,) = await _run(tmp_path, options, script, env={"C": "spec"})
    assert printed == f"inherited options spec {tmp_path} \n{tmp_path}\n"


async def test_working_dir(tmp_path: Path) -> None:
    """`working_dir` is relative to the project; a spec's directory wins for commands."""
    (tmp_path / "sub").mkdir()
    assert await _run(tmp_path, LocalOptions(working_dir="sub"), "pwd") == [f"{tmp_path}/sub\n"]
    assert await _run(tmp_path, LocalOptions(working_dir=str(tmp_path / "sub")), "pwd") == [f"{tmp_path}/sub\n"]
    assert await _run(tmp_path, LocalOptions(), "pwd", cwd=PurePosixPath("/usr")) == ["/usr\n"]


async def test_shell(tmp_path: Path) -> None:
    """`shell` runs commands that are given as a shell line."""
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "mine: $1 $2"\n')
    shell.chmod(0o755)
    assert await _run(tmp_path, LocalOptions(shell=str(shell)), "a line") == ["mine: -c a line\n"]


async def test_python_is_offloads_own(tmp_path: Path) -> None:
    """In a virtual environment that was not activated, `python` is still the one that Offload runs in."""
    if sys.prefix == sys.base_prefix or "VIRTUAL_ENV" in os.environ:
        pytest.skip("not in a virtual environment that is not activated")
    (printed,) = await _run(tmp_path, LocalOptions(), "python -c 'import sys; print(sys.prefix)'")
    assert printed == f"{sys.prefix}\n"


def test_open_files(tmp_path: Path) -> None:
    """Commands have the limit of open files that Offload was started with, however many sandboxes there are."""
    script = """\
import asyncio, resource, sys
from pathlib import Path
from offload_core.abc import Command, Context, SandboxSpec
from offload_core.kit import run_command
from offload_local import LocalOptions, LocalProvider
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (300, most))
async def main():
    provider = LocalProvider(LocalOptions(), Context(project_dir=Path("/"), max_parallel=100))
    for name in "ab":
        sandbox = await provider.create(SandboxSpec(name=name, run_id="files"))
        print((await run_command(sandbox, Command(argv=("sh", "-c", "ulimit -Sn")))).stdout.decode().strip())
        await sandbox.terminate()
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    await provider.aclose()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["300", "300", "1056"]


async def test_output_descriptors_are_the_commands_own(tmp_path: Path) -> None:
    """A command inherits its three standard descriptors and no other of the supervisor's."""
    (printed,) = await _run(tmp_path, LocalOptions(), "ls /dev/fd/ | tr '\\n' ' '")
    assert printed.split()[:3] == ["0", "1", "2"]
    assert len(printed.split()) <= 4  # ls opens one itself


async def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` is ok here, and says so if the temporary directory cannot be written to or few files can be open."""

    async def check(**context: object) -> list[tuple[Severity, str]]:
        async with LocalProvider(LocalOptions(), Context(project_dir=tmp_path, **context)) as provider:  # type: ignore[arg-type]
            health = await provider.check()
        return [(finding.severity, finding.what) for finding in health.findings]

    assert all(severity is Severity.OK for severity, _ in await check())
    assert (Severity.WARNING, "open files are too few") in [
        (severity, " ".join(what.split()[1:6])) for severity, what in await check(max_parallel=10**9)
    ]
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/directory")
    assert [what for severity, what in await check() if severity is Severity.ERROR] == [
        "/no/such/directory cannot be written to: No such file or directory"
    ]


def _git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def _project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for directory in (".venv/bin", "src", "build", "data", "__pycache__", "src/deep"):
        (project / directory).mkdir(parents=True)
    for file in (".venv/bin/tool", "src/code.py", "build/out", "data/big", "__pycache__/x.pyc", "src/deep/x.log", "db"):
        (project / file).write_text(file)
    (project / "link").symlink_to("src/code.py")
    (project / "src" / "code.py").chmod(0o755)
    return project


def _there(pattern: str) -> list[Path]:
    return [*Path("/").glob(pattern.lstrip("/"))]


_TREE = """\
find . -name .git -prune -o -print | sort
echo "$OFFLOAD_ROOT"
for entry in * .venv; do [ -L "$entry" ] && echo "link $entry"; done
true
"""


async def test_copy_with_git(tmp_path: Path) -> None:
    """Each sandbox has a copy; ignored top-level directories and .git are links; what is excluded is left out."""
    project = _project(tmp_path)
    (project / ".gitignore").write_text(".venv/\nbuild\n*.log\ndb\n")
    _git(project, "init", "-q")
    _git(project, "add", ".")
    _git(project, "commit", "-qm", "all")
    options = LocalOptions(isolation="copy", copy_exclude=("/data",))
    write = "echo changed >src/code.py; echo new >src/new; git status --porcelain; ls -l src/code.py | cut -c1-10"
    tree, written, untouched = await _run(project, options, _TREE, write, "cat src/code.py link; [ ! -e src/new ]; pwd")
    *paths, root, first, second, third = tree.splitlines()
    assert paths == [
        ".", "./.gitignore", "./.venv", "./build", "./db", "./link", "./src", "./src/code.py", "./src/deep",
        "./src/deep/x.log",
    ]  # fmt: skip
    assert [first, second, third] == ["link build", "link link", "link .venv"]
    assert root != str(project)
    assert Path(root).name == "project"
    assert written.splitlines()[-1] == "-rwxr-xr-x"
    assert " M src/code.py" in written
    assert "?? src/new" in written
    assert untouched.startswith("src/code.pysrc/code.py")
    assert (project / "src" / "code.py").read_text() == "src/code.py"
    assert _there(root) == []


async def test_copy_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git cannot tell, well-known directories are linked and all else is copied."""
    project = _project(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tree,) = await _run(project, LocalOptions(isolation="copy"), _TREE)
    assert [line for line in tree.splitlines() if line.startswith("link ")] == ["link link", "link .venv"]
    assert "./build/out" in tree
    assert "__pycache__" not in tree


async def test_copy_of_a_working_dir(tmp_path: Path) -> None:
    """With `working_dir`, that directory is what is copied."""
    project = _project(tmp_path)
    (printed,) = await _run(project, LocalOptions(isolation="copy", working_dir="src"), "ls; basename $PWD")
    assert printed.split() == ["code.py", "deep", "src"]


async def test_copy_that_fails(tmp_path: Path) -> None:
    """A file that cannot be copied is CreateFailed with its name, and nothing is left; so it is for a directory."""
    project = _project(tmp_path)
    (project / "proc").symlink_to("/proc/1")
    context = Context(name="local", project_dir=Path("/proc/self"))
    async with LocalProvider(LocalOptions(isolation="copy"), context) as provider:
        with pytest.raises(CreateFailed, match="copy_exclude"):
            await provider.create(SandboxSpec(name="s", run_id="copy-fails"))
        assert await provider.list("copy-fails") == []


async def test_copy_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A create that is cancelled while it copies stops copying and leaves nothing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    project = tmp_path / "project"
    for number in range(300):
        (project / str(number)).mkdir(parents=True)
        for name in "abcdefghij":
            (project / str(number) / name).touch()
    async with LocalProvider(LocalOptions(isolation="copy"), Context(name="local", project_dir=project)) as provider:
        creating = asyncio.create_task(provider.create(SandboxSpec(name="s", run_id="copy-cancelled")))
        async with asyncio.timeout(30):
            while not _there(f"{tmp_path}/offload-*/copy-cancelled/*/copy/project/0"):  # noqa: ASYNC110
                await asyncio.sleep(0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert await provider.list("copy-cancelled") == []
        assert _there(f"{tmp_path}/offload-*/copy-cancelled/*") == []


async def test_copy_of_what_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a directory that goes between being listed and being copied, as others work there, is left out."""
    project = _project(tmp_path)

    @contextlib.contextmanager
    def scandir(directory: str | Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with looking(directory) as found:
            entries = list(found)
        if Path(directory) == project / "src" and (project / "src/deep").exists():
            (project / "src/code.py").unlink()
            (project / "src/deep/x.log").unlink()
            (project / "src/deep").rmdir()
        yield iter(entries)

    looking = os.scandir
    monkeypatch.setattr("os.scandir", scandir)
    (tree,) = await _run(project, LocalOptions(isolation="copy"), "find . -type f | sort; ls src")
    assert tree.split() == ["./build/out", "./data/big", "./db"]
