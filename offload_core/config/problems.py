"""What is wrong with a configuration, in one form: where, which key, and why."""

from __future__ import annotations

from attrs import define, field

from ..errors import ConfigError
from .keys import KeyPath, Origin, dotted


def located(origin: Origin | str, path: KeyPath, words: str) -> str:
    """A problem with the value of a key, as all messages have it."""
    return f"{origin}: {dotted(path)}: {words}"


@define
class Problems:
    """Collects what is wrong, so that one message names all."""

    messages: list[str] = field(factory=list)

    def add(self, origin: Origin | str, path: KeyPath, words: str) -> None:
        """Note a problem with the value of a key."""
        self.messages.append(located(origin, path, words))

    def refuse(self) -> None:
        """Do nothing if nothing is wrong.

        Raises:
            ConfigError: names every problem, one a line.
        """
        if self.messages:
            raise ConfigError("\n".join(self.messages))
