"""Sandboxes as directories on hosts that OpenSSH reaches, and the processes that are started in them."""

from ._provider import SshOptions, SshProvider

__all__ = ["SshOptions", "SshProvider"]
