"""Runs the tests: sandboxes in, events out."""

from .request import RunRequest, StopRequest
from .run import execute

__all__ = ["RunRequest", "StopRequest", "execute"]
