"""A package that asks for what only a newer core has."""

from offload_core.abc import Teleporter  # type: ignore[attr-defined]


class Asks(Teleporter):  # type: ignore[misc]
    """Cannot be made without it."""
