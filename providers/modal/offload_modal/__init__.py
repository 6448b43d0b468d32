"""Sandboxes in Modal's cloud."""

from ._backend import Tuning
from ._options import ModalOptions
from ._provider import ModalProvider

__all__ = ["ModalOptions", "ModalProvider", "Tuning"]
