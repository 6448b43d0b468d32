"""What must not be shown: values of variables that hold secrets, kept out of logs, journal and reports."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from .schema import Config

REDACTED = "***"
MIN_LENGTH = 8
"""Shorter values are not hidden: they would turn up by chance everywhere."""

_ENDINGS = ("TOKEN", "SECRET", "PASSWORD", "KEY")


def is_secret_name(name: str, listed: Iterable[str] = ()) -> bool:
    """Whether a variable holds a secret: it is listed, or its name ends in TOKEN, SECRET, PASSWORD or KEY."""
    return name in listed or name.upper().endswith(_ENDINGS)


def secret_values(config: Config, *environs: Mapping[str, str]) -> frozenset[str]:
    """The values to hide, of `[provider.env]`, `[framework.env]` and the given environments.

    A value of several lines counts line by line too, since logs are. Values and lines under 8 characters are left out.
    """
    found: set[str] = set()
    listed = config.offload.secrets
    of_provider = getattr(config.provider.options, "env", None)
    for environ in (*environs, of_provider if isinstance(of_provider, Mapping) else {}, config.framework.env):
        for name, value in environ.items():
            if is_secret_name(name, listed):
                found.update((value, *value.splitlines()))
    return frozenset(value for value in found if len(value) >= MIN_LENGTH)


def redactor(values: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces every occurrence of the values, as they are or escaped as in JSON, by `***`."""
    spellings = {spelling for value in values for spelling in (value, json.dumps(value)[1:-1])}
    if not spellings:
        return lambda text: text
    # the longest first, or a value that contains another would show what is left of it
    pattern = re.compile("|".join(re.escape(each) for each in sorted(spellings, key=len, reverse=True)))
    return lambda text: pattern.sub(REDACTED, text)


def masked(value: Any, config: Config, *environs: Mapping[str, str], name: str = "") -> Any:
    """A value, or a table of them, as it may be shown: without what has a secret's name, and without any secret in it.

    Args:
        name: of the key that has the value, if it is not in a table.
    """
    hide = redactor(secret_values(config, *environs))

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [shown(each) for each in value]
        return hide(value) if isinstance(value, str) else value

    return shown(without_secrets({name: value}, config.offload.secrets)[name])


def config_hash(config: Config, environ: Mapping[str, str]) -> str:
    """16 hexadecimal digits that are equal for equal effective values; secrets do not count."""
    text = json.dumps(without_secrets(attrs.asdict(config), config.offload.secrets), sort_keys=True, default=str)
    hidden = redactor(secret_values(config, environ))(text)
    return hashlib.sha256(hidden.encode()).hexdigest()[:16]


def without_secrets(value: Any, listed: Iterable[str] = ()) -> Any:
    """A table without the texts of those keys in it whose names are a secret's."""
    if isinstance(value, dict):
        return {
            name: REDACTED if isinstance(each, str) and is_secret_name(name, listed) else without_secrets(each, listed)
            for name, each in value.items()
        }
    return value
