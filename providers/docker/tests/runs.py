"""Projects whose tests run in containers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.docker_engine import BASE, Engine
from tests.e2e.project import Project

CONFIG = """
[offload]
max_parallel = {parallel}
sandbox_project_root = "/work/project"
{offload}
[provider]
type = "docker"
image = "{base}"
include_cwd = true
hosts = {hosts}
{provider}
[framework]
type = "pytest"
command = "python3 -m pytest"
discover_in = "sandbox"
[groups.all]
{rest}
"""

LABEL = "label=offload.run_id"


def configure(project: Project, engines: Sequence[Engine], parallel: int = 2, **lines: str) -> None:
    """Write an `offload.toml` for these engines; `lines` go into the tables that they name, `rest` to the end."""
    parts = {name: lines.get(name, "") for name in ("offload", "provider", "rest")}
    hosts = json.dumps([engine.url for engine in engines])
    text = CONFIG.format(parallel=parallel, base=BASE, hosts=hosts, **parts)
    (project.directory / "offload.toml").write_text(text, encoding="utf-8")


def containers(engine: Engine, state: str = "") -> list[str]:
    """The ids of Offload's containers, whatever their state, or in one state."""
    wanted = ["--filter", f"status={state}"] if state else ["-a"]
    return engine.docker("ps", "-q", "--no-trunc", "--filter", LABEL, *wanted).stdout.split()
