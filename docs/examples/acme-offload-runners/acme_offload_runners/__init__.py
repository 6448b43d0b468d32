"""The runners of Acme. What they are is in `runners.toml`."""

from importlib.resources import files

RUNNERS = files(__name__) / "runners.toml"
"""The file in which the entry points of this package are defined."""
