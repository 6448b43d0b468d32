"""Runs the tests: sandboxes in, events out."""

from .artefacts import ArtefactRequest
from .request import RunRequest, StopRequest
from .run import execute

__all__ = ["ArtefactRequest", "RunRequest", "StopRequest", "execute"]
