"""Offload's provider of sandboxes that are Docker containers, on one engine or several."""

from ._options import DockerOptions
from ._provider import DockerProvider

__all__ = ["DockerOptions", "DockerProvider"]
