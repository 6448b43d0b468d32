"""The launcher that every command starts under, and what kills by its mark."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from offload_core.abc import EXEC_MARK, Command
from offload_core.kit import kill_command, launched, without_launcher

ODD = ("", "two words", "'", '"', "$HOME", "a\nb", "-n", "*", "ü")


def test_launched_runs_the_same_command(tmp_path: Path) -> None:
    """Under the launcher a command gets its arguments as they are, its directory, its mark and a group of its own."""
    script = 'pwd; echo "$OFFLOAD_EXEC"; ps -o pgid= -p $$ | tr -d " "; echo $$; printf "%s\\0" "$@"'
    command = launched(Command(argv=("sh", "-c", script, "sh", *ODD), cwd=PurePosixPath(tmp_path)))
    done = subprocess.run(command.argv, env={**os.environ, **command.env}, capture_output=True, check=True)
    cwd, mark, group, pid, words = done.stdout.split(b"\n", 4)
    assert cwd.decode() == str(tmp_path)
    assert mark.decode() == command.mark
    assert group == pid
    assert [word.decode() for word in words.split(b"\0")[:-1]] == list(ODD)


def test_launched_cannot_enter() -> None:
    """A directory that is not there is exit code 126."""
    command = launched(Command(argv=("true",), cwd=PurePosixPath("/no/such")))
    assert subprocess.run(command.argv, capture_output=True, check=False).returncode == 126


def test_each_launch_has_its_own_mark() -> None:
    """Two launches of one command can be told apart."""
    command = Command(argv=("true",))
    assert launched(command).mark != launched(command).mark
    assert command.mark is None


@pytest.mark.parametrize("cwd", [None, PurePosixPath("/tmp")])
def test_without_launcher(cwd: PurePosixPath | None) -> None:
    """A provider that needs no launcher gets the command back, with its mark; what has none is left as it is."""
    command = Command(argv=("sh", "-c", "true", *ODD), cwd=cwd, env={"A": "b"}, timeout=3)
    started = launched(command)
    back = without_launcher(started)
    assert (back.argv, back.cwd, back.timeout) == (command.argv, cwd, 3)
    assert back.env == {"A": "b", EXEC_MARK: started.mark}
    assert without_launcher(command) == command


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up under /proc")
def test_kill_command(tmp_path: Path) -> None:
    """It kills what carries the mark and what shares a session with that, nothing else; twice is no error."""
    script = "env -i sleep 600 & echo $!; setsid sleep 600 & echo $!; echo $$; exec sleep 600"
    victim, bystander = (launched(Command(argv=("sh", "-c", script))) for _ in range(2))
    processes = [
        subprocess.Popen(each.argv, env={**os.environ, **each.env}, stdout=subprocess.PIPE, start_new_session=new)
        for each, new in ((victim, False), (bystander, True))
    ]
    mark = victim.mark
    assert mark is not None
    killer = kill_command(mark)
    try:
        pids = []
        for process in processes:
            assert process.stdout
            pids += [int(process.stdout.readline()) for _ in range(3)]
        assert subprocess.run(killer.argv, check=False).returncode == 0
        assert processes[0].wait() == -9
        assert [_runs(pid) for pid in pids] == [False] * 3 + [True] * 3
        assert subprocess.run(killer.argv, check=False).returncode == 0
    finally:
        other = bystander.mark
        assert other is not None
        subprocess.run(kill_command(other).argv, check=True)
        for process in processes:
            process.communicate()


_APART = ("unshare", "--pid", "--mount", "--fork")

# In a process namespace of its own, ids can be chosen: 9999 comes behind 10000 in the order of names.
_INVERTED = """\
mount -t proc proc /proc
echo 9998 >/proc/sys/kernel/ns_last_pid
MARK=m setsid sh -c '
    sleep 600 & child=$!
    for n in $(seq 100); do sleep 600 & done
    echo ready
    while read -r state </proc/$child/stat; do case $state in *") Z "*) echo seen ;; esac; done' &
read -r line
exec "$@"
"""


@pytest.mark.skipif(
    subprocess.run([*_APART, "true"], check=False, capture_output=True).returncode != 0,
    reason="needs a process namespace",
)
def test_kill_command_ends_parents_first() -> None:
    """A process whose child is killed is not there any more to see it, whatever their ids."""
    for _ in range(5):
        reading, writing = os.pipe()
        command = [*_APART, "sh", "-c", _INVERTED, "sh", *kill_command("m", "MARK").argv]
        with subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE) as process:
            os.close(reading)
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            os.close(writing)
            assert process.stdout.read() == b""
            assert process.wait() == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up under /proc")
def test_kill_command_of_another_variable() -> None:
    """What carries a mark of a provider's own is killed by it, and nothing that carries the same value elsewhere."""
    started = [
        subprocess.Popen(["sleep", "600"], env={**os.environ, name: "here"}) for name in ("A_SANDBOX", "A_STRANGER")
    ]
    try:
        assert subprocess.run(kill_command("here", "A_SANDBOX").argv, check=False).returncode == 0
        assert started[0].wait() == -9
        assert started[1].poll() is None
    finally:
        for process in started:
            process.kill()
            process.wait()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False
