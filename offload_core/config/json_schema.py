"""JSON Schema (draft 7, which editors know) of `offload.toml`, made from the classes of its tables.

It is as strict about unknown keys as `offload validate --strict`. No key is required: a runner or another layer may set
it. What can be known only by trying, such as whether a command can be split into words, is not in it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import PurePath
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs

from .annotations import arms, element_of, fields_of, is_mapping, is_sequence
from .runners import RunnerTable
from .schema import PLUGIN_TABLES, Config

Schema = dict[str, Any]

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def json_schema(plugins: Mapping[str, Mapping[str, type]] | None = None) -> Schema:
    """The schema.

    Args:
        plugins: under `provider` and `framework` the plugins' `Options` by their names. Without it any plugin may be
            named, and have any key.
    """
    definitions: Schema = {each.name: _value(each.type) for each in fields_of(Config)}
    for name, table in PLUGIN_TABLES.items():
        definitions[name] = _plugin_table(table, (plugins or {}).get(name))
    tables: Schema = {name: {"$ref": f"#/definitions/{name}"} for name in definitions}
    runner = _table(RunnerTable)
    runner["properties"] |= tables
    definitions["runner"] = runner
    tables["runners"] = {"type": "object", "additionalProperties": {"$ref": "#/definitions/runner"}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "offload.toml",
        "type": "object",
        "properties": tables,
        "additionalProperties": False,
        "definitions": definitions,
    }


def _plugin_table(table: type, plugins: Mapping[str, type] | None) -> Schema:
    """The core's keys; with a `type` also those of that plugin, and no others."""
    own = _properties(table)
    if plugins is None:
        return {"type": "object", "properties": own}
    named = {**own, "type": {**own["type"], "enum": sorted(plugins)}}
    chosen = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": {**_properties(options), **named}, "additionalProperties": False},
        }
        for name, options in sorted(plugins.items())
    ]
    return {"type": "object", "properties": named, **({"allOf": chosen} if chosen else {})}


def _table(cls: type) -> Schema:
    return {"type": "object", "properties": _properties(cls), "additionalProperties": False}


def _properties(cls: type) -> Schema:
    properties = {}
    for each in fields_of(cls):
        doc, inert = each.metadata.get("doc", ""), each.metadata.get("inert", "")
        schema = _value(each.type)
        if doc or inert:
            schema["description"] = doc + (f" Without effect: {inert}." if inert else "")
        if isinstance(each.default, (str, int, float)):
            schema["default"] = each.default
        properties[each.name] = schema
        alias = each.metadata.get("alias")
        if alias:
            properties[alias] = {**schema, "description": f"Older name of `{each.name}`. {doc}"}
    return properties


def _value(annotation: Any) -> Schema:
    schemas = [_one(each) for each in arms(annotation)]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _one(annotation: Any) -> Schema:
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if annotation in _TYPES:
        return {"type": _TYPES[annotation]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if not isinstance(origin, type) or origin is object:
        return {}
    if attrs.has(origin):
        return _table(origin)
    if issubclass(origin, enum.Enum):
        return {"enum": [each.value for each in origin]}
    if issubclass(origin, PurePath):
        return {"type": "string"}
    if is_mapping(origin):
        return {"type": "object", "additionalProperties": _value(element_of(annotation))}
    if is_sequence(origin):
        return {"type": "array", "items": _value(element_of(annotation))}
    return {}
