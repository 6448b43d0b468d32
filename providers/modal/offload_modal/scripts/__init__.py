"""Scripts that configurations call as `@name`."""
