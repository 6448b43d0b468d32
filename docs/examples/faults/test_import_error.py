"""A module that cannot be collected: one `error`, named after the module."""

import a_module_that_is_not_installed  # type: ignore[import-not-found]


def test_unreachable() -> None:
    """Nobody gets here."""
    assert a_module_that_is_not_installed
