"""The conformance suite from the command line: pytest runs it, and what it finds is said check by check."""

from __future__ import annotations

import os

from ._subject import Subject


def run_checks(subject: Subject, *, select: str = "", verbose: bool = False) -> int:
    """Check a provider, and say on stdout how each check ended. What `offload conformance` does; needs pytest.

    The configuration and the plugins of pytest that lie around are left out.

    Args:
        select: only checks that match, as pytest's `-k`.
        verbose: a traceback for each failure.

    Returns:
        The exit code of pytest.
    """
    import pytest

    from . import _installed
    from ._checklist import Checklist

    checklist = Checklist(subject, verbose=verbose)
    arguments = ["--pyargs", _installed.__name__, "-c", os.devnull, "--assert=plain"]
    arguments += ["-p", "no:terminal", "-p", "no:cacheprovider", *(["-k", select] if select else [])]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        code = pytest.main(arguments, plugins=[checklist])
    if code not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.NO_TESTS_COLLECTED):
        checklist.say_end()
    return code
