"""Tests that do what tests should not. Run them with Offload: most of them would end plain pytest itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(5))
def test_before(number: int) -> None:
    """An honest test, in the same module and process as the faults that follow."""
    assert number * 2 == number + number


def test_exits() -> None:
    """Ends the process that runs the tests."""
    os._exit(3)


def test_segfaults() -> None:
    """Reads memory that is not there."""
    ctypes.string_at(0)


def test_killed() -> None:
    """What the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_hangs() -> None:
    """Waits for ever, and so does its child."""
    subprocess.Popen(["sleep", "3600"])
    threading.Event().wait()


def test_flaky() -> None:
    """Fails at the first attempt and passes at the second."""
    failed_before = Path(__file__).with_name(".failed-before")
    if not failed_before.exists():
        failed_before.touch()
        pytest.fail("the first attempt always fails")
    failed_before.unlink()


def test_fails() -> None:
    """Is simply wrong."""
    print("what the test printed")
    assert sorted([3, 1, 2]) == [1, 3, 2]


@pytest.fixture
def broken() -> None:
    """A fixture that cannot be set up."""
    raise ConnectionRefusedError("the database is not there")


def test_errs(broken: None) -> None:
    """Never begins, for want of its fixture."""


@pytest.mark.parametrize("number", range(5))
def test_after(number: int) -> None:
    """Honest tests again: they must pass, whatever happened before them."""
    assert number - number == 0
