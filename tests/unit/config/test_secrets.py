"""Values of secret variables are found, and never shown."""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import frozen

from offload_core.config.schema import Config, FrameworkTable, OffloadTable, ProviderTable
from offload_core.config.secrets import is_secret_name, redactor, secret_values


@frozen
class Options:
    """A provider's."""

    env: Mapping[str, str]


def config(secrets: tuple[str, ...] = (), **env: str) -> Config:
    """A configuration with these variables in `[provider.env]`."""
    return Config(
        offload=OffloadTable(secrets=secrets),
        provider=ProviderTable(type="x", options=Options(env)),
        framework=FrameworkTable(type="x", options=None, env={"F_PASSWORD": "framework-secret"}),
        groups={},
    )


def test_names_that_hold_secrets() -> None:
    """By their ending, in any case, or because they are listed."""
    assert all(map(is_secret_name, ("API_TOKEN", "SECRET", "db_password", "AWS_SECRET_ACCESS_KEY")))
    assert not any(map(is_secret_name, ("TOKENS", "KEYBOARD", "HOME")))
    assert is_secret_name("ODD", ["ODD"])


def test_values_come_from_all_environments() -> None:
    """The host's, the command line's, and both tables of the configuration; short ones are left out."""
    found = secret_values(
        config(("ODD",), P_KEY="provider-secret", PLAIN="visible-value"),
        {"A_TOKEN": "host-secret", "ODD": "listed-secret", "SHORT_KEY": "1234567", "HOME": "/home/somebody"},
        {"A_TOKEN": "flag-secret"},
    )
    assert found == {"host-secret", "listed-secret", "provider-secret", "framework-secret", "flag-secret"}


def test_a_secret_of_several_lines_is_hidden_line_by_line() -> None:
    """Logs are written in lines, and JSON escapes line ends."""
    value = "-----BEGIN KEY-----\nbase64base64\nx\n"
    redact = redactor(secret_values(config(), {"SSH_KEY": value}))
    assert redact("got base64base64 here") == "got *** here"
    assert "base64" not in redact(json.dumps({"text": value}))


def test_redaction_leaves_no_remains() -> None:
    """The longer of two secrets that begin alike goes first; regular-expression characters are only characters."""
    redact = redactor(["secret-12", "secret-1234", "a.b*c+d(e"])
    assert redact("secret-1234 secret-12 a.b*c+d(e axbbc") == "*** *** *** axbbc"
    assert redactor([])("anything") == "anything"
