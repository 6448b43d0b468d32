"""A provider that would be right, if its name were its own."""

from offload_local import LocalProvider


class Twin(LocalProvider):
    """One of two."""
