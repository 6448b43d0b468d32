"""Runs the tests: sandboxes in, events out."""

from .artefacts import ArtefactRequest
from .request import RunRequest, StopRequest
from .run import collect, execute
from .timing import Timing

__all__ = ["ArtefactRequest", "RunRequest", "StopRequest", "Timing", "collect", "execute"]
