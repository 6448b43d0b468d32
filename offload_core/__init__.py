"""Run a test suite over many sandboxes at once, and tell the truth about what happened."""

__version__ = "0.1.0"
