"""Commands on the host: they run as the core starts them, and inherit what sandboxes on the host inherit."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from offload_core.abc import Command, Completed, Exit, Upload
from offload_core.cli import main
from offload_core.errors import UploadFailed
from offload_core.execution.host import HostExecutor

SUITE = """
import os
import pytest

SEEN = [name for name in os.environ if name.startswith("OFFLOAD_") and "__" in name]

@pytest.mark.parametrize("seen", SEEN or ["none"])
def test_it(seen):
    assert seen == "none"
"""
CONFIGURATION = """
[offload]
max_parallel = 1
[provider]
type = "local"
[framework]
type = "pytest"
discover_in = "host"
[groups.all]
"""


async def test_exec(tmp_path: Path) -> None:
    """A command has a mark, and starts in its directory; one that is not there is said by name."""
    command = Command(argv=("sh", "-c", 'pwd; echo "${OFFLOAD_EXEC:+marked}"'), cwd=PurePosixPath(tmp_path))
    process = await HostExecutor().exec(command)
    assert await process.communicate() == Completed(Exit(0), f"{tmp_path}\nmarked\n".encode(), b"")
    done = await (await HostExecutor().exec(Command(argv=("true",), cwd=PurePosixPath("/no/such")))).communicate()
    assert not done.exit.ok
    assert b"/no/such" in done.stderr


def test_what_lists_does_not_see_the_configuration_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Variables that configure Offload are no part of a suite's environment, neither where it is listed nor where it
    runs: a suite that looks at its variables must not have other tests here than there.
    """
    monkeypatch.setenv("OFFLOAD_OFFLOAD__TEST_TIMEOUT_SECS", "300")
    (tmp_path / "test_a.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "offload.toml").write_text(CONFIGURATION)
    assert main(["run", "--ci", "-c", str(tmp_path / "offload.toml")]) == 0
    assert "All tests passed!" in capsys.readouterr().out


async def test_upload(tmp_path: Path) -> None:
    """Bytes, files and directories arrive with their parents and modes, and replace what was there."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("x")
    (source / "deep" / "file").chmod(0o755)
    target = tmp_path / "a" / "b"
    for data in (b"one", b"two"):
        await HostExecutor().upload(
            [
                Upload(data, PurePosixPath(target / "bytes"), 0o600),
                Upload(source, PurePosixPath(target / "dir")),
                Upload(source / "deep/file", PurePosixPath(target / "f")),
            ]
        )
    with pytest.raises(UploadFailed):
        await HostExecutor().upload([Upload(b"", PurePosixPath(target / "bytes" / "below"))])
    assert (target / "bytes").read_bytes() == b"two"
    assert (target / "bytes").stat().st_mode & 0o777 == 0o600
    assert (target / "f").stat().st_mode & 0o777 == 0o755
    assert (target / "dir/deep/file").read_text() == "x"
    assert sorted(path.name for path in target.iterdir()) == ["bytes", "dir", "f"]
