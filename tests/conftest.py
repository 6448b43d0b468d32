"""Fixtures for all tests: plugin packages that are really installed, as far as importlib.metadata can tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest


class Distributions:
    """A directory on `sys.path`, and on the PYTHONPATH of processes started now, that packages can be put into."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(
        self,
        name: str,
        entry_points: Mapping[str, Mapping[str, str]],
        sources: Mapping[str, str] | None = None,
        version: str = "1.0",
    ) -> None:
        """Install a distribution: its entry points by group and name, and its modules by name."""
        info = self.directory / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = []
        for group, points in entry_points.items():
            lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for module, source in (sources or {}).items():
            (self.directory / f"{module}.py").write_text(source, encoding="utf-8")


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    """Packages that are installed for one test, and for the processes it starts."""
    directory = tmp_path / "installed"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(directory), *([inherited] if inherited else [])]))
    yield Distributions(directory)
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(directory):
            del sys.modules[name]


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"
