"""Tells git to merge the history with `offload history merge`: an attribute of the file, and what it stands for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError

DRIVER = "offload-history"
SETTINGS = {f"merge.{DRIVER}.name": "Offload test history", f"merge.{DRIVER}.driver": "offload history merge %O %A %B"}
ATTRIBUTES = ".gitattributes"


def set_up(history: Path) -> Iterator[str]:
    """Do what is not done yet, and say it. The history need not be there.

    A worktree, or a directory in the middle of a repository, will do.

    Raises:
        ConfigError: it is not in a git repository, or git refuses.
    """
    directory = history.parent.resolve()
    if not directory.is_dir():
        raise ConfigError(f"there is no directory {directory}, where [history] path is to be")
    root = Path(_git(directory, "rev-parse", "--show-toplevel"))
    name = (directory / history.name).relative_to(root.resolve()).as_posix()
    yield from _attribute(root, name)
    for setting, value in SETTINGS.items():
        yield _setting(root, setting, value)


def _attribute(root: Path, name: str) -> Iterator[str]:
    path = root / ATTRIBUTES
    if _merge_attribute(root, name) == DRIVER:
        yield f"{path}: {name} has merge={DRIVER} already"
        return
    line = f"{_pattern(name)} merge={DRIVER}"
    try:
        before = path.read_bytes() if path.exists() else b""
        ends = b"" if before.endswith(b"\n") or not before else b"\n"
        with path.open("ab") as attributes:
            attributes.write(ends + line.encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"{path} could not be written: {error.strerror or error}") from error
    yield f"{path}: added `{line}`; commit it, so that it holds for everybody"
    if (effective := _merge_attribute(root, name)) != DRIVER:
        raise ConfigError(
            f"another file of attributes says merge={effective} for {name}, and is stronger: change it there "
            f"(`git -C {root} check-attr --all {name}`)"
        )


def _setting(root: Path, name: str, value: str) -> str:
    where = f"git's configuration of {root}"
    current = _git(root, "config", "--local", "--default", "", "--get", name)
    if not current:
        _git(root, "config", "--local", name, value)
        return f"{where}: set {name} to `{value}`; each clone needs this command once"
    if current == value:
        return f"{where}: {name} is `{value}` already"
    return f"{where}: {name} is `{current}`, which is left as it is"


def _merge_attribute(root: Path, name: str) -> str:
    told = _git(root, "check-attr", "-z", "merge", "--", name)
    return told.split("\0")[2]


def _pattern(name: str) -> str:
    """The pattern that means this one file: anchored, without wildcards, quoted where git needs that."""
    pattern = "/" + re.sub(r"([\\*?\[\]])", r"\\\1", name)
    return json.dumps(pattern, ensure_ascii=False) if re.search(r"[\s\"]", pattern) else pattern


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", "-C", str(directory), *arguments),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
    except OSError as error:
        raise ConfigError(f"git could not be started: {error.strerror or error}") from error
    if done.returncode:
        raise ConfigError(
            f"`git {' '.join(arguments)}` in {directory} failed: {done.stderr.strip() or done.returncode}"
        )
    return done.stdout.rstrip("\n")
