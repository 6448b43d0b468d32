"""A provider from the future."""

from offload_local import LocalProvider


class Newer(LocalProvider):
    """Keeps promises that nobody has made yet."""

    contract = 1000
