"""Sandboxes on this machine: process trees, each under a supervising process, with a directory of their own."""

from ._options import LocalOptions
from ._provider import LocalProvider

__all__ = ["LocalOptions", "LocalProvider"]
