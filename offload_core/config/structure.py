"""Raw values into typed tables, strictly: TOML has types, so nothing is converted but whole numbers to floats.

cattrs chooses by type; the hooks here say what is accepted, and report in words what is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from attrs import define, field

from ..errors import PluginError
from ..suggestion import did_you_mean
from .annotations import arms, element_of, fields_of, is_mapping, is_sequence, is_union, keys_of
from .documents import Document, EnvironmentText, plain
from .keys import KeyPath, dotted, located, refuse
from .secrets import is_secret_name

T = TypeVar("T")

_EXPECTED = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path (a string)",
    PurePosixPath: "a path (a string)",
}


@define
class Mismatch(Exception):
    """A value is not of the type that its key has.

    Attributes:
        expected: what is, in words; or all there is to say.
        found: what the value is, in words, if that is to be said.
        path: of the value, relative to where structuring began.
    """

    expected: str
    found: str
    path: KeyPath = ()


@define
class Findings:
    """What structuring noticed beside the values themselves; all paths are from the top.

    Attributes:
        problems: path and words of everything that is wrong.
        unknown: paths of keys that no table has, with the names it does have.
        inert: paths of what is set and has no effect, with why.
        used: for each key of each table the path it was set under (another one for an alias); None if it was not.
    """

    problems: list[tuple[KeyPath, str]] = field(factory=list)
    unknown: list[tuple[KeyPath, tuple[str, ...]]] = field(factory=list)
    inert: list[tuple[KeyPath, str]] = field(factory=list)
    used: dict[KeyPath, KeyPath | None] = field(factory=dict)

    def refuse_unknown(self, which: Callable[[KeyPath], bool] = lambda path: True) -> None:
        """Make problems of unknown keys."""
        self.problems += [
            (path, f"there is no such key{did_you_mean(str(path[-1]), known)}")
            for path, known in self.unknown
            if which(path)
        ]


def structure(cls: type[T], table: Any, path: KeyPath, findings: Findings, also: Sequence[str] = ()) -> T | None:
    """Make an attrs class of a raw table.

    Args:
        path: of the table, for what is reported.
        also: keys that are someone else's: neither used here nor unknown.

    Returns:
        None if there were problems; they are in `findings`.
    """
    table = plain(table)
    if not isinstance(table, dict):
        findings.problems.append((path, f"expected a table, found {found_words(table)}"))
        return None
    before = len(findings.problems)
    fields = fields_of(cls)
    known = keys_of(cls)
    findings.unknown += [((*path, name), (*known, *also)) for name in table if name not in known and name not in also]
    values: dict[str, Any] = {}
    inert: list[tuple[KeyPath, str]] = []
    for each in fields:
        name = next((name for name in (each.name, each.metadata.get("alias")) if name in table), None)
        findings.used[(*path, each.name)] = None if name is None else (*path, name)
        if name is not None:
            _structure_value(values, each, table[name], (*path, name), findings)
            inert += [((*path, name), why) for why in [each.metadata.get("inert")] if why]
        elif each.default is attrs.NOTHING:
            doc = each.metadata.get("doc", "")
            findings.problems.append(((*path, each.name), f"required, but not set{doc and f' ({doc})'}"))
    whole = [each.metadata.get("inert") for each in fields]
    findings.inert += [(path, whole[0])] if whole and all(whole) else inert
    if len(findings.problems) > before:
        return None
    try:
        return cls(**{each.alias: values[each.name] for each in fields if each.name in values})
    except (ValueError, TypeError) as error:
        findings.problems.append(_invalid(error, path, [each.name for each in fields]))
        return None


def strict_table(cls: type[T], table: Any, found: Document, where: KeyPath) -> T:
    """A table that says something about configuration, structured: unknown keys are errors here.

    Args:
        found: what the table is from.
        where: its path there.

    Raises:
        ConfigError: wrong types, or unknown keys.
    """
    findings = Findings()
    made = structure(cls, table, where, findings)
    findings.refuse_unknown()
    refuse(located(found.at(path), path, words) for path, words in findings.problems)
    assert made is not None  # there would be a problem
    return made


def found_words(value: Any) -> str:
    """What was found, in words."""
    value = plain(value)
    match value:
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case str():
            shown = value if len(value) <= 60 else f"{value[:57]}..."
            return f'"{shown}" (a string)'
        case int():
            return f"{value} (an integer)"
        case float():
            return f"{value} (a number)"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
    return f"{value} (a date or time)"


def _structure_value(values: dict[str, Any], each: Any, raw: Any, path: KeyPath, findings: Findings) -> None:
    if attrs.has(each.type):
        nested = structure(each.type, raw, path, findings)
        if nested is not None:
            values[each.name] = nested
        return
    try:
        value = values[each.name] = _CONVERTER.structure(raw, each.type)
        for name in value if isinstance(value, Mapping) else ():
            findings.used[(*path[:-1], each.name, name)] = (*path, name)
    except Mismatch as mismatch:
        where, found = (*path, *mismatch.path), mismatch.found
        if is_secret_name(str(where[-1])):
            found = found.rpartition("(")[2].rstrip(")")  # only what it is
        findings.problems.append((where, f"{mismatch.expected}{found and f', found {found}'}"))
    except cattrs.errors.StructureHandlerNotFoundError as error:
        raise PluginError(f"{dotted(path)}: the plugin gives it a type that cannot be written in TOML") from error


def _invalid(error: Exception, path: KeyPath, names: Sequence[str]) -> tuple[KeyPath, str]:
    """Validators name the field first: `'max_parallel' must be >= 1: 0`, as attrs does, or `max_parallel: …`."""
    message = str(error)
    match = re.match(r"(?P<quote>'?)(?P<name>\w+)(?P=quote)[: ]\s*", message)
    if match is None or match["name"] not in names:
        return path, message
    return (*path, match["name"]), message[match.end() :]


def _expected(target: Any) -> str:
    if target in _EXPECTED:
        return _EXPECTED[target]
    origin, arguments = get_origin(target), get_args(target)
    if origin is Literal:
        return f"one of {', '.join(repr(each) for each in arguments)}"
    if is_union(target):
        return " or ".join(map(_expected, arms(target)))
    if is_mapping(target):
        return "a table"
    if is_sequence(target):
        return "a list"
    if isinstance(target, type) and issubclass(target, Enum):
        return f"one of {', '.join(repr(each.value) for each in target)}"
    return "a table" if attrs.has(target) else getattr(target, "__name__", str(target))


def _parsed(value: Any, target: Any, *accepted: type) -> Any:
    parsed = plain(value)
    if type(parsed) not in accepted:
        raise _mismatch(parsed, target)
    return parsed


def _mismatch(value: Any, target: Any, hint: str = "") -> Mismatch:
    return Mismatch(f"expected {_expected(target)}{hint}", found_words(value))


def _exactly(*accepted: type) -> Callable[[Any, Any], Any]:
    return lambda value, target: target(_parsed(value, target, *accepted))


def _string(value: Any, target: Any) -> Any:
    if isinstance(value, EnvironmentText) and not isinstance(plain(value), str):
        value = str(value)
    return target(_parsed(value, target, str))


def _is_literal(target: Any) -> bool:
    return get_origin(target) is Literal


def _choice(value: Any, target: Any) -> Any:
    parsed = plain(value)
    choices = get_args(target)
    for choice in choices:
        if choice == parsed and type(choice) is type(parsed):
            return choice
    texts = [each for each in choices if isinstance(each, str)]
    hint = did_you_mean(parsed, texts, " (did you mean '{}'?)") if isinstance(parsed, str) else ""
    raise _mismatch(parsed, target, hint)


def _enumeration(value: Any, target: Any) -> Any:
    try:
        return target(plain(value))
    except ValueError:
        raise _mismatch(value, target) from None


def _union(value: Any, target: Any) -> Any:
    types = arms(target)
    if value is None and len(types) < len(get_args(target)):
        return None
    # a string accepts any text of a variable, so it is asked last
    for arm in sorted(types, key=lambda arm: arm is str):
        try:
            return _CONVERTER.structure(value, arm)
        except Mismatch:
            if len(types) == 1:
                raise
    raise _mismatch(value, target)


def _sequence(value: Any, target: Any) -> Any:
    parsed = _parsed(value, target, list)
    items = [_element(each, element_of(target), index) for index, each in enumerate(parsed)]
    origin = get_origin(target) or target
    return origin(items) if origin in (list, set, frozenset) else tuple(items)


def _mapping(value: Any, target: Any) -> Any:
    return {name: _element(each, element_of(target), name) for name, each in _parsed(value, target, dict).items()}


def _element(value: Any, target: Any, name: str | int) -> Any:
    try:
        return _CONVERTER.structure(value, target)
    except Mismatch as mismatch:
        mismatch.path = (name, *mismatch.path)
        raise


def _table(value: Any, target: Any) -> Any:
    findings = Findings()
    made = structure(target, value, (), findings)
    if made is None:
        path, words = findings.problems[0]
        raise Mismatch(words, "", path)
    return made


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook_func(attrs.has, _table)
    converter.register_structure_hook_func(is_mapping, _mapping)
    converter.register_structure_hook_func(is_sequence, _sequence)
    converter.register_structure_hook_func(is_union, _union)
    converter.register_structure_hook_func(_is_literal, _choice)
    converter.register_structure_hook_func(lambda each: isinstance(each, type) and issubclass(each, Enum), _enumeration)
    # cattrs asks hooks for exact types first, so its own lenient ones have to be replaced, not overtaken
    for text in (str, Path, PurePosixPath):
        converter.register_structure_hook(text, _string)
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(float, _exactly(int, float))
    converter.register_structure_hook_func(lambda each: each in (Any, object), lambda value, target: plain(value))
    return converter


_CONVERTER = _make_converter()
