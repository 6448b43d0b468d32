"""Why a container is dead, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offload_core.abc import Liveness

GIB = 1 << 30
KILLED = 137


def dead(exit_code: int, *, out_of_memory: bool = False, memory_gb: float | None = None, error: str = "") -> Liveness:
    """What the exit of a container's main process means. That process sleeps for the sandbox's lifetime."""
    if out_of_memory:
        reason = f"killed: {no_memory(memory_gb)}"
    elif exit_code == 0:
        reason = "its lifetime is over"
    else:
        reason = f"exit code {exit_code}"
    return Liveness.dead(f"{reason}: {error}" if error else reason, exit_code=exit_code, out_of_memory=out_of_memory)


def no_memory(memory_gb: float | None) -> str:
    """That memory ran out, and how much there was."""
    return "out of memory" + (f" (limit {memory_gb:g} GiB)" if memory_gb else "")


def inspected(container: Mapping[str, Any]) -> Liveness:
    """What the inspection of a container says."""
    state = container["State"]
    if state["Running"] or state["Status"] in ("created", "restarting"):
        return Liveness.alive()
    return dead(
        state["ExitCode"],
        out_of_memory=state.get("OOMKilled", False),
        memory_gb=container["HostConfig"]["Memory"] / GIB,
        error=state.get("Error", ""),
    )
