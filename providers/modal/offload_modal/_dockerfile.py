"""A Dockerfile of one stage, cut into layers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

_LAYERS = frozenset({"RUN", "COPY", "ADD"})
_NOT_INHERITED = frozenset({"ARG", "SHELL"})
"""What holds only until the end of a build, so it is repeated in the layers that follow."""

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
_ONE_IMAGE = re.compile(r"FROM\s+(?!--)(\S+)\s*", re.IGNORECASE)


@frozen
class Stage:
    """A base image, and for each layer on it the instructions that make it."""

    base: str
    layers: tuple[tuple[str, ...], ...]


def single_stage(text: str) -> Stage | None:
    """Cut a Dockerfile after each RUN, COPY and ADD.

    None for what can only be built as a whole: several stages, a stage with a name or a platform, arguments before the
    first FROM, files from other images, here-documents, parser directives, ONBUILD.
    """
    if _DIRECTIVE.match(text.lstrip()) or "<<" in text:
        return None
    instructions = list(_instructions(text))
    if not instructions or not (first := _ONE_IMAGE.fullmatch(instructions[0])):
        return None
    if any(_word(line) in ("FROM", "ONBUILD") or _from_elsewhere(line) for line in instructions[1:]):
        return None
    layers: list[tuple[str, ...]] = []
    inherited: list[str] = []
    layer: list[str] = []
    for line in instructions[1:]:
        layer.append(line)
        if _word(line) in _LAYERS:
            layers.append(tuple(layer))
            inherited += [each for each in layer if _word(each) in _NOT_INHERITED and each not in inherited]
            layer = list(inherited)
    if layer != inherited:
        layers.append(tuple(layer))
    return Stage(first[1], tuple(layers))


def _instructions(text: str) -> Iterator[str]:
    """Each instruction with its continuation lines, without comments."""
    pending: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pending.append(line)
        if not line.rstrip().endswith("\\"):
            yield "\n".join(pending).strip()
            pending = []
    if pending:
        yield "\n".join(pending).strip().rstrip("\\").rstrip()


def _word(instruction: str) -> str:
    return instruction.split(maxsplit=1)[0].upper()


def _from_elsewhere(instruction: str) -> bool:
    return _word(instruction) == "COPY" and "--from=" in instruction
