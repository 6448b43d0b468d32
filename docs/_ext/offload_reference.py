"""Reference pages made from the code: tables of the configuration, events of the journal, exit codes.

Each directive writes Markdown and lets the page's parser read it, so that what a docstring marks up stays marked up.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from typing import Any

import attrs
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    type(None): "",
    dict: "table",
}


class _Markdown(Directive):
    """A directive that answers with Markdown."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        found = nodes.Element()
        lines = StringList(self.markdown().splitlines(), source=f"<{self.name}>")
        self.state.nested_parse(lines, self.content_offset, found)
        return found.children

    def markdown(self) -> str:
        """What stands in the page instead of the directive."""
        raise NotImplementedError


class ConfigurationTable(_Markdown):
    """`{offload-table} module:Class`: the keys of one table of `offload.toml`."""

    required_arguments = 1

    def markdown(self) -> str:
        table = _found(self.arguments[0])
        hints = typing.get_type_hints(table)
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        for field in attrs.fields(table):
            doc = field.metadata.get("doc")
            if doc is None:
                continue
            alias, inert = field.metadata.get("alias"), field.metadata.get("inert")
            meaning = (
                doc
                + (f" Older name: `{alias}`." if alias else "")
                + (f" *Accepted, but without effect: {inert}.*" if inert else "")
            )
            rows.append(f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} | {_cell(meaning)} |")
        return "\n".join(rows) + "\n"


class Events(_Markdown):
    """`{offload-events}`: every line that a journal can hold."""

    def markdown(self) -> str:
        from offload_core import events

        parts: list[str] = []
        for event in typing.get_args(events.Event):
            parts += [f"`{event.__name__}`", f": {_cell(inspect.getdoc(event) or '')}"]
            hints = typing.get_type_hints(event)
            fields = [f"`{field.name}` ({_type(hints[field.name])})" for field in attrs.fields(event)]
            parts += ["", f"  {', '.join(fields) or 'No fields.'}", ""]
        return "\n".join(parts)


def _found(name: str) -> Any:
    module, _, attribute = name.partition(":")
    target: Any = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
    return target


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{value!r}`".replace("'", '"') for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(filter(None, map(_type, arguments)))
    if origin is tuple:
        inner = [_type(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {inner[0]}" if len(arguments) == 2 and arguments[1] is Ellipsis else f"({', '.join(inner)})"
    if origin is not None and origin in _TYPES:
        return f"table of {_type(arguments[-1])}" if arguments else "table"
    if origin is not None and origin.__name__ == "Mapping":
        return f"table of {_type(arguments[-1])}"
    if origin is list:
        return f"list of {_type(arguments[0])}"
    return _TYPES.get(hint) if hint in _TYPES else getattr(hint, "__name__", str(hint))  # type: ignore[return-value]


def _default(field: Any) -> str:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()
    if default is attrs.NOTHING:
        return "*required*"
    if default is None:
        return "*none*"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, (tuple, list)):
        return "`[" + ", ".join(f'"{each}"' for each in default) + "]`"
    if isinstance(default, (dict, types.MappingProxyType)):
        return "`{}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default:g}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _public(app: Sphinx, _: object, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """What signatures call by the private module that defines it, by the public package that documents it."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    package = module.partition("._")[0]
    if node.get("refdomain") != "py" or package == module or not package.startswith("offload_core"):
        return None
    if isinstance(getattr(importlib.import_module(module), name, None), typing.TypeVar):
        return content
    domain = app.env.get_domain("py")
    return domain.resolve_xref(
        app.env, node.get("refdoc", ""), app.builder, node["reftype"], f"{package}.{name}", node, content
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, and how names are found."""
    app.add_directive("offload-table", ConfigurationTable)
    app.add_directive("offload-events", Events)
    app.connect("missing-reference", _public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
