"""The command lines of the configuration: what is filled in, and how it is quoted."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import PurePosixPath

from offload_core.abc import Command

SCRIPTS = "offload.scripts"
"""The entry-point group of `@name` references: the name is `name.ext`, the value a module, whose file is the script."""

_REFERENCE = re.compile(r"(?:^|(?<=\s))@(?P<name>[\w-]+\.\w+)(?=\s|$)")
_PLACEHOLDER = re.compile(r"(?<!\$)\{(?P<name>\w+)\}")


def fill(template: str, values: Mapping[str, str], paths: str = "") -> str:
    """A shell line: `@name` references become paths, `{name}` what `values` has for it; each is quoted for the shell.

    Braces around anything else, and shell variables such as `${name}`, stay as they are. What is filled in is not
    looked at again.

    Args:
        paths: what `{paths}` stands for: words that are quoted already.
    """
    words = {name: shlex.quote(value) for name, value in values.items()}
    words |= {"paths": paths} if paths else {}
    line = _REFERENCE.sub(lambda match: shlex.quote(script(match["name"])), template)
    return _PLACEHOLDER.sub(lambda match: words.get(match["name"], match[0]), line)


def pairs(paths: Iterable[tuple[str, str]]) -> str:
    """What `{paths}` stands for: one word of the shell for each pair, with a colon between source and target."""
    return " ".join(f"{shlex.quote(source)}:{shlex.quote(target)}" for source, target in paths)


def references(template: str) -> list[str]:
    """The names of the scripts that a command line refers to."""
    return [match["name"] for match in _REFERENCE.finditer(template)]


def script(name: str) -> str:
    """The path of an installed script.

    Raises:
        ValueError: no installed package offers it, or more than one does; says which there are.
    """
    found = entry_points(group=SCRIPTS)
    modules = {entry.module for entry in found if entry.name == name}
    if len(modules) != 1:
        names = ", ".join(sorted({f"@{entry.name}" for entry in found})) or "none"
        many = f"is offered by {' and '.join(sorted(modules))}" if modules else "is offered by no installed package"
        raise ValueError(f"the script @{name} {many}; there are: {names}")
    (module,) = modules
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"the script @{name} is not there: its package has no module {module}")
    return spec.origin


def remote_line(command: Command, cwd: PurePosixPath | None, env: Mapping[str, str]) -> str:
    """A command as one line for a POSIX shell in the sandbox.

    Args:
        cwd: where it starts, unless the command says otherwise.
        env: of the sandbox; the command's own comes on top.
    """
    variables = [f"{name}={value}" for name, value in {**env, **command.env}.items()]
    line = "exec " + shlex.join(["env", *variables, *command.argv] if variables else command.argv)
    directory = command.cwd or cwd
    return f"cd {shlex.quote(str(directory))} || exit 126; {line}" if directory else line
