"""A package that cannot be imported."""

raise RuntimeError("the SDK needs a license file")
