"""A package whose entry point is a function that makes something."""


def connect() -> object:
    """Something, but not a provider."""
    return object()
