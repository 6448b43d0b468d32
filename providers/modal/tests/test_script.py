"""`modal_sandbox.py`, the script that existing configurations call, as its own process against the loopback server."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loopback import Loopback
from offload_modal import scripts

from tests.support.marks import nightly

SCRIPT = Path(scripts.__file__).with_name("modal_sandbox.py")
_PATIENCE_SECS = 60.0


def script(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECS,
        cwd=cwd,
        check=False,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start it."""
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def image(loopback: Loopback, tmp_path: Path) -> str:
    """An image whose `/app` has one file."""
    (tmp_path / "file").write_text("content\n")
    done = script("prepare", "--include-cwd", "--from-base-image", "debian:12", "--copy-dir=.:/app", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def sandbox(loopback: Loopback, image: str) -> str:
    """A sandbox, which ends with the server."""
    done = script("create", "--cpu", "0.5", image, "--env", "WORD=a b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def test_offered() -> None:
    """It is found by the name that configurations use."""
    (entry,) = importlib.metadata.entry_points(group="offload.scripts", name="modal_sandbox.py")
    assert entry.value.replace(".", "/") + ".py" == str(SCRIPT.relative_to(SCRIPT.parents[2]))


def test_exec(sandbox: str) -> None:
    """A shell command has the project's directory, its variables, its input, both streams, and its exit code."""
    done = script("exec", sandbox, 'cat file; echo "$WORD" >&2; cat; exit 7', stdin="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "content\nin", "a b\n")


def test_download(sandbox: str, tmp_path: Path) -> None:
    """Files and directories arrive where they were asked for; one that is missing is an error, not a death."""
    done = script("download", sandbox, f"/app/file:{tmp_path}/one", f"/app:{tmp_path}/all")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one").read_text() == (tmp_path / "all" / "file").read_text() == "content\n"
    done = script("download", sandbox, f"/app/missing:{tmp_path}/two")
    assert done.returncode == 1
    assert "/app/missing" in done.stderr
    assert "OFFLOAD_SANDBOX_DEAD" not in done.stderr


def test_destroy(loopback: Loopback, sandbox: str, image: str) -> None:
    """Sandboxes are ended one by one or many at once; what has ended is no error."""
    other = script("create", image).stdout.strip()
    for _ in range(2):
        assert script("destroy", sandbox).returncode == 0
        assert script("destroy-many", stdin=f"{sandbox}\n{other}\n").returncode == 0
    alive = {each.id for each in loopback.sandboxes() if each.alive}
    assert not alive & {sandbox, other}


@pytest.mark.parametrize("command", ["exec", "download"])
@pytest.mark.parametrize("router", ["hang", "gone", nightly("refuse"), nightly("synhole")])
def test_dead_before(loopback: Loopback, sandbox: str, router: str, command: str, tmp_path: Path) -> None:
    """What is asked of a sandbox that has ended says so, with the reason, and its worker is not called."""
    loopback.kill(sandbox, status="KERNEL_OOM_KILL", router=router)  # type: ignore[arg-type]
    since = time.monotonic()
    done = script(command, sandbox, "true" if command == "exec" else f"/app/file:{tmp_path}/file")
    assert done.returncode not in (0, 1)
    assert "OFFLOAD_SANDBOX_DEAD: killed: out of memory (exit code 137)\n" in done.stderr
    assert not [name for name in loopback.calls(sandbox, since) if name.startswith("TaskExec")]


@pytest.mark.parametrize("router", ["hang", "gone", nightly("refuse"), nightly("synhole")])
def test_dead_meanwhile(loopback: Loopback, sandbox: str, router: str) -> None:
    """A command whose sandbox ends says so at once."""
    process = start("exec", sandbox, "echo begun; exec sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    loopback.kill(sandbox, status="TERMINATED", router=router)  # type: ignore[arg-type]
    _, said = process.communicate(timeout=_PATIENCE_SECS)
    assert process.returncode not in (0, 1)
    assert "OFFLOAD_SANDBOX_DEAD: terminated\n" in said


def test_terminated(loopback: Loopback, sandbox: str) -> None:
    """SIGTERM ends the command in the sandbox, too."""
    process = start("exec", sandbox, "echo $$; exec sleep 600")
    assert process.stdout is not None
    pid = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=_PATIENCE_SECS)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert script("exec", sandbox, f"kill -0 {pid}").returncode == 1


def test_unknown_sandbox(loopback: Loopback) -> None:
    """A sandbox that Modal does not know is dead."""
    done = script("exec", "sb-0000000000000000000000v", "true")
    assert "OFFLOAD_SANDBOX_DEAD: Modal does not know it\n" in done.stderr


def test_patch(loopback: Loopback, image: str, tmp_path: Path) -> None:
    """A patch is laid over the root of a given image, and the command after it sees it; the patch does not stay."""
    patch = tmp_path / "patch"
    patch.write_text("--- a/file\n+++ b/file\n@@ -1 +1 @@\n-content\n+changed\n")
    after = 'test -e "$OFFLOAD_PATCH_FILE" && cp file copy'
    done = script("prepare", "--from-base-image", image, f"--patch-file={patch}", f"--post-patch-cmd={after}")
    assert done.returncode == 0, done.stderr
    one = script("create", done.stdout.splitlines()[-1]).stdout.strip()
    done = script("exec", one, "cat copy; ls /tmp/offload.patch")
    assert done.stdout == "changed\n"
    assert done.returncode == 2


def test_build_that_fails(loopback: Loopback, tmp_path: Path) -> None:
    """A failed build is an error with its last lines, and prints no id."""
    done = script("prepare", "--from-base-image", "debian:12", "--sandbox-init-cmd=echo about to fail; exit 3")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "about to fail" in done.stderr


def test_usage() -> None:
    """A wrong command line is told as such."""
    assert script("create").returncode == 2
    assert "A:B" in script("download", "sb-1", "nowhere").stderr
    assert os.access(SCRIPT, os.R_OK)
