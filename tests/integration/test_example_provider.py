"""The example that the provider guide quotes keeps the contract, and can be installed and used like any other."""

from __future__ import annotations

import asyncio
import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from offload_core.abc import Context, LivenessSettings, Sandbox
from offload_core.cli import main
from offload_core.testing import ProviderConformance

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "offload-example"
SOURCE = EXAMPLE / "offload_example" / "__init__.py"


@pytest.fixture
def example(distributions: Any) -> Any:
    """The package, installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sources = {"offload_example": SOURCE.read_text(encoding="utf-8")}
    distributions.add(project["name"], project["entry-points"], sources)
    return importlib.import_module("offload_example")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the default kill looks processes up under /proc")
class TestExample(ProviderConformance):
    """The conformance suite, as the guide shows how to use it."""

    patience_secs = 30.0
    enforces_lifetime = False

    @pytest.fixture(autouse=True)
    def _installed(self, example: Any, tmp_path: Path) -> None:
        self.example, self.directory = example, tmp_path / "sandboxes"

    def make_provider(self) -> Any:
        """With sandboxes in the test's own directory."""
        context = Context(name="example", project_dir=Path("/"), liveness=LivenessSettings(interval_secs=0.2))
        return self.example.ExampleProvider(self.example.ExampleOptions(directory=str(self.directory)), context)

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """A sandbox dies when its directory is removed, with its processes."""
        provider = self.make_provider()
        await provider.attach(sandbox.ref).terminate()


@pytest.mark.usefixtures("example")
def test_a_run_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of its entry point, from `providers` to `run`."""
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "offload.toml").write_text(
        f"""
        [offload]
        [provider]
        type = "example"
        directory = '{tmp_path / "sandboxes"}'
        [framework]
        type = "pytest"
        [groups.all]
        """,
        encoding="utf-8",
    )
    assert main(["providers"]) == 0
    assert "offload_example:ExampleProvider" in capsys.readouterr().out
    assert main(["run", "-c", str(tmp_path / "offload.toml")]) == 0
    assert "All tests passed!" in capsys.readouterr().out
    assert asyncio.run(asyncio.to_thread(lambda: list((tmp_path / "sandboxes").iterdir()))) == []
