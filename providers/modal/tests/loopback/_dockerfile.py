"""The instructions of a Dockerfile, as far as the server carries them out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping

import attrs

_IGNORED = {"EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "STOPSIGNAL", "USER", "VOLUME"}
_VARIABLE = re.compile(r"\\\$|\$(\w+)|\$\{(\w+)(?::([-+])([^}]*))?\}")
_PAIR = re.compile(r"""(\w+)=((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])*)""")


class DockerfileError(Exception):
    """An instruction that is wrong, or that this server does not carry out; the message has the line."""


@attrs.frozen
class Instruction:
    """One instruction: its name in capitals, its `--flags`, and what follows them."""

    name: str
    flags: Mapping[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as a JSON list of strings, or split at blanks."""
        listed = self.listed
        return shlex.split(self.rest) if listed is None else listed

    @property
    def listed(self) -> list[str] | None:
        """The rest if it is a JSON list of strings (the exec form), else None."""
        try:
            value = json.loads(self.rest)
        except ValueError:
            return None
        return [str(each) for each in value] if isinstance(value, list) else None

    @property
    def pairs(self) -> dict[str, str]:
        """The rest as `NAME=value …`, or as the old form `NAME value`."""
        if "=" not in self.rest.split(maxsplit=1)[0]:
            name, _, value = self.rest.partition(" ")
            return {name: value.strip()}
        return {name: "".join(shlex.split(value)) if value else "" for name, value in _PAIR.findall(self.rest)}


def parse(commands: Iterable[str]) -> list[Instruction]:
    """The instructions of `commands`, which are lines or whole instructions.

    Raises:
        DockerfileError: for what is not an instruction, and for here-documents.
    """
    instructions = []
    for line in _logical_lines(commands):
        name, _, rest = line.partition(" ")
        name, rest = name.upper(), rest.strip()
        if not rest or ("<<" in rest and name in ("RUN", "COPY") and re.search(r"<<-?\w+\s*$", rest)):
            raise DockerfileError(f"not emulated: {line}")
        flags = {}
        while match := re.match(r"--([\w-]+)(?:=(\S*))?\s+", rest):
            flags[match[1]] = match[2] or ""
            rest = rest[match.end() :]
        if name not in _IGNORED:
            instructions.append(Instruction(name, flags, rest))
    return instructions


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """`text` with `$NAME`, `${NAME}`, `${NAME:-else}` and `${NAME:+then}` replaced."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        found = variables.get(match[1] or match[2], "")
        if match[3] == "-":
            return found or str(match[4])
        if match[3] == "+":
            return str(match[4]) if found else ""
        return found

    return _VARIABLE.sub(value, text)


def _logical_lines(commands: Iterable[str]) -> Iterable[str]:
    pending = ""
    for line in "\n".join(commands).split("\n"):
        if line.lstrip().startswith("#") or (not line.strip() and pending):
            continue
        pending += line
        if pending.rstrip().endswith("\\"):
            pending = pending.rstrip()[:-1] + "\n"
        else:
            if pending.strip():
                yield pending.strip()
            pending = ""
    if pending.strip():
        yield pending.strip()
