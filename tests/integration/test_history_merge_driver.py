"""The merge driver in real merges of git, and the command that sets it up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from offload_core.cli import main
from offload_core.history import Sample, locked, read_history, write_history

CONFIG = """
[offload]
[provider]
type = "local"
[framework]
type = "pytest"
[groups.all]
{history}
"""
TESTS = [f"tests/test_a.py::test_{number}" for number in range(5)]


@frozen
class Repository:
    """A git repository with a project in it, which may be a directory below its root."""

    root: Path
    project: Path
    name: str = "offload-history.jsonl"

    @property
    def history(self) -> Path:
        """The history file."""
        return self.project / self.name

    def git(self, *arguments: str, fails: bool = False) -> str:
        """Run git; what it prints on both streams."""
        command = ["git", "-C", str(self.root), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def configure(self, history: str = "[history]") -> None:
        """Write the project's configuration."""
        self.project.mkdir(parents=True, exist_ok=True)
        (self.project / "offload.toml").write_text(CONFIG.format(history=history), encoding="utf-8")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def record(self, run: int, *tests: str) -> None:
        """What a run leaves, without running."""
        with locked(self.history):
            history = read_history(self.history)
            for test in tests:
                entry = history.entry(("offload.toml", test))
                entry.attempts += 1
                entry.ok.append(Sample(f"r{run:03}", 1_712_000_000_000 + run, run / 10))
                entry.last_run = f"r{run:03}"
                history.put(("offload.toml", test), entry)
            write_history(history)

    def runs(self, test: str) -> set[str]:
        """The runs that the history has samples of."""
        return {each.run for each in read_history(self.history).entry(("offload.toml", test)).ok}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty one, that nobody's configuration of git touches; `offload` is on the PATH, as git needs it."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "OFFLOAD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    root = tmp_path / "repository"
    root.mkdir()
    made = Repository(root, root)
    made.git("init", "--quiet", "--initial-branch=main")
    made.configure()
    return made


def set_up(repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Call the command in the project's directory; what it says."""
    monkeypatch.chdir(repository.project)
    assert main(["history", "setup-merge-driver"]) == 0
    return capsys.readouterr().out


def diverge(repository: Repository) -> None:
    """Two branches with runs of their own; `main` is checked out."""
    repository.record(1, *TESTS[:3])
    repository.commit("A first run")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.record(2, *TESTS[:2], TESTS[3])
    repository.commit("A run on the branch")
    repository.git("checkout", "--quiet", "main")
    repository.record(3, *TESTS[1:3], TESTS[4])
    repository.commit("A run on main")


def test_two_branches_merge(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have recorded the same tests; the merge has every sample of both, and nothing to resolve."""
    said = set_up(repository, monkeypatch, capsys)
    assert f"{repository.root / '.gitattributes'}: added `/offload-history.jsonl merge=offload-history`" in said
    assert "set merge.offload-history.driver to `offload history merge %O %A %B`" in said
    diverge(repository)
    told = repository.git("merge", "--no-edit", "side")
    assert "CONFLICT" not in told
    assert repository.git("status", "--porcelain") == ""
    assert [repository.runs(test) for test in TESTS] == [
        {"r001", "r002"},
        {"r001", "r002", "r003"},
        {"r001", "r003"},
        {"r002"},
        {"r003"},
    ]
    entry = read_history(repository.history).entry(("offload.toml", TESTS[1]))
    assert (entry.attempts, entry.last_run) == (3, "r003")


def test_without_the_driver_git_conflicts(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is what it is for. What to do then is said when the file is read, and works."""
    diverge(repository)
    assert "CONFLICT" in repository.git("merge", "--no-edit", "side", fails=True)
    monkeypatch.chdir(repository.project)
    assert main(["history", "show"]) == 0
    captured = capsys.readouterr()
    assert "the mark of a merge conflict. `git checkout --merge` of the file" in captured.err
    set_up(repository, monkeypatch, capsys)
    repository.git("checkout", "--merge", "--", repository.name)
    assert read_history(repository.history).problems == []
    assert repository.runs(TESTS[1]) == {"r001", "r002", "r003"}


def test_a_side_that_is_damaged_is_a_conflict(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git says so and leaves ours; nothing is lost in silence."""
    set_up(repository, monkeypatch, capsys)
    diverge(repository)
    ours = repository.history.read_bytes()
    repository.git("checkout", "--quiet", "side")
    repository.history.write_text("damaged\n" + repository.history.read_text("utf-8"), "utf-8")
    repository.commit("Somebody edits it")
    repository.git("checkout", "--quiet", "main")
    told = repository.git("merge", "--no-edit", "side", fails=True)
    assert "line 1: not an entry of a history" in told
    assert "CONFLICT" in told
    assert repository.history.read_bytes() == ours


def test_it_is_set_up_once(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second time nothing changes, and that is said; also with the line of the older tool, and no end of line."""
    attributes = repository.root / ".gitattributes"
    attributes.write_text("*.png binary\noffload-history.jsonl merge=offload-history", encoding="utf-8")
    before = attributes.read_bytes()
    said = set_up(repository, monkeypatch, capsys)
    assert "offload-history.jsonl has merge=offload-history already" in said
    config = (repository.root / ".git/config").read_text("utf-8")
    assert set_up(repository, monkeypatch, capsys).count("already") == 3
    assert attributes.read_bytes() == before
    assert (repository.root / ".git/config").read_text("utf-8") == config


@pytest.mark.parametrize("name", ["times.jsonl", "a b/his[to]ry*.jsonl", 'quo"te ü.jsonl', "#!x"])
def test_the_configured_path_in_a_subdirectory(
    repository: Repository, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The attribute is of that file, whatever its name, and of no other; what was there stays."""
    inner = Repository(repository.root, repository.root / "packages/one", name)
    inner.configure(f"[history]\npath = {json.dumps(name)}")
    inner.history.parent.mkdir(parents=True, exist_ok=True)
    attributes = repository.root / ".gitattributes"
    attributes.write_text("*.png binary", encoding="utf-8")
    set_up(inner, monkeypatch, capsys)
    assert attributes.read_text("utf-8").splitlines()[0] == "*.png binary"
    diverge(inner)
    inner.git("merge", "--no-edit", "side")
    assert inner.runs(TESTS[1]) == {"r001", "r002", "r003"}
    other = inner.history.with_name("other.jsonl").relative_to(repository.root)
    assert "unspecified" in repository.git("check-attr", "merge", str(other))


def test_a_worktree_will_do(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`.git` is a file there. The attribute is the worktree's, the driver that of all of them."""
    repository.commit("Start")
    repository.git("worktree", "add", "--quiet", "-b", "work", "../other")
    other = Repository(repository.root.parent / "other", repository.root.parent / "other")
    set_up(other, monkeypatch, capsys)
    assert (other.root / ".gitattributes").exists()
    assert not (repository.root / ".gitattributes").exists()
    assert "offload history merge" in repository.git("config", "merge.offload-history.driver")
    diverging = Repository(other.root, other.root)
    diverging.record(1, *TESTS)
    diverging.commit("A run")
    diverging.git("checkout", "--quiet", "-b", "side")
    diverging.record(2, *TESTS)
    diverging.commit("A run on the branch")
    diverging.git("checkout", "--quiet", "work")
    diverging.record(3, *TESTS)
    diverging.commit("A run here")
    diverging.git("merge", "--no-edit", "side")
    assert diverging.runs(TESTS[0]) == {"r001", "r002", "r003"}


def test_what_somebody_has_chosen_is_left(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A driver of their own, which is said; a stronger attribute is an error that says where to look."""
    repository.git("config", "merge.offload-history.driver", "uv run offload history merge %O %A %B")
    said = set_up(repository, monkeypatch, capsys)
    assert "driver is `uv run offload history merge %O %A %B`, which is left as it is" in said
    (repository.root / ".gitattributes").unlink()
    (repository.root / ".git/info").mkdir(exist_ok=True)
    (repository.root / ".git/info/attributes").write_text("*.jsonl merge=union\n", encoding="utf-8")
    assert main(["history", "setup-merge-driver"]) == 4
    assert "says merge=union for offload-history.jsonl, and is stronger" in capsys.readouterr().err


def test_no_repository_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4; also where the directory of the history is not there."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    alone = Repository(tmp_path, tmp_path)
    alone.configure()
    monkeypatch.chdir(tmp_path)
    assert main(["history", "setup-merge-driver"]) == 4
    assert "not a git repository" in capsys.readouterr().err
    alone.configure('[history]\npath = "none/history.jsonl"')
    assert main(["history", "setup-merge-driver"]) == 4
    assert "there is no directory" in capsys.readouterr().err
