"""Sandboxes that the user's own shell commands create, use and destroy."""

from ._input_check import Patience
from ._options import CommandOptions
from ._provider import CommandProvider

__all__ = ["CommandOptions", "CommandProvider", "Patience"]
