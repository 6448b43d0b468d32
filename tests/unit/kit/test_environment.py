"""What a command on this machine inherits."""

from __future__ import annotations

import sys

import pytest

from offload_core.kit import inherited_environment


def test_it_drops_configuration() -> None:
    """Offload's configuration variables stay with Offload; everything else is inherited."""
    environment = {"OFFLOAD_PROVIDER__TYPE": "x", "OFFLOAD_ROOT": "/r", "A": "1", "VIRTUAL_ENV": "/v", "PATH": "/bin"}
    expected = {"OFFLOAD_ROOT": "/r", "A": "1", "VIRTUAL_ENV": "/v", "PATH": "/bin"}
    assert inherited_environment(environment) == expected


def test_it_finds_its_own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a virtual environment that nobody activated, its programs come first; outside of one, PATH is as it was."""
    monkeypatch.setattr(sys, "prefix", "/venv")
    monkeypatch.setattr(sys, "executable", "/venv/bin/python")
    assert inherited_environment({"PATH": "/bin"})["PATH"] == "/venv/bin:/bin"
    assert inherited_environment({"PATH": "/bin", "VIRTUAL_ENV": "/other"})["PATH"] == "/bin"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert inherited_environment({"PATH": "/bin"})["PATH"] == "/bin"
