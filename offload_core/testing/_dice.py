"""Which calls are hit by which fault: decided by a seed, so that a run that failed can be run again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from attrs import field, frozen

from ..errors import ConnectionLost, CreateFailed, DownloadFailed, OperationTimedOut, ProviderError, UploadFailed

T = TypeVar("T")

EVERYWHERE = "*"
"""Stands for the sandbox in calls that are on none."""


class Fault(StrEnum):
    """What can be done to a call."""

    FAIL = "fail"
    """It raises, before or after it had its effect."""
    KILL = "kill"
    """The sandbox dies with the call, or, for `exec`, after some output."""
    HANG = "hang"
    """It never returns, until it is cancelled."""
    CAPACITY = "capacity"
    """`create` finds no room."""
    UNKNOWN = "unknown"
    """This and the next probes of the sandbox cannot find out."""
    TRUNCATE = "truncate"
    """The standard output of a command ends early; the command goes on until the pipe is full."""
    TEAR = "tear"
    """A command is killed, its standard output ends early, and its exit is not told."""
    DELAY = "delay"
    """It takes longer."""


_APPLIES: Mapping[str, frozenset[Fault]] = {
    "create": frozenset({Fault.FAIL, Fault.KILL, Fault.HANG, Fault.CAPACITY, Fault.DELAY}),
    "exec": frozenset({Fault.FAIL, Fault.KILL, Fault.HANG, Fault.TRUNCATE, Fault.TEAR, Fault.DELAY}),
    "upload": frozenset({Fault.FAIL, Fault.KILL, Fault.HANG, Fault.DELAY}),
    "download": frozenset({Fault.FAIL, Fault.KILL, Fault.HANG, Fault.DELAY}),
    "probe": frozenset({Fault.FAIL, Fault.HANG, Fault.UNKNOWN, Fault.DELAY}),
    "wait_dead": frozenset({Fault.FAIL, Fault.HANG}),
    "list": frozenset({Fault.FAIL, Fault.HANG, Fault.DELAY}),
    "terminate": frozenset({Fault.FAIL, Fault.HANG, Fault.DELAY}),
}
_ERRORS: Mapping[str, tuple[type[ProviderError], ...]] = {
    "create": (CreateFailed, ConnectionLost, OperationTimedOut),
    "exec": (ConnectionLost,),
    "wait_dead": (ConnectionLost,),
    "upload": (UploadFailed, ConnectionLost, OperationTimedOut),
    "download": (DownloadFailed, ConnectionLost, OperationTimedOut),
}
_ANY_ERROR = (ConnectionLost, OperationTimedOut)


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen(kw_only=True)
class FaultPlan:
    """How likely each fault is, from 0 to 1, in each call that it applies to.

    Attributes:
        delay: the only one that comes on top of others.
        max_delay_secs: a delay is anything up to this.
        unknown_probes: how many probes in a row cannot find out.
        operations: only calls of these are hit; empty for all: create, exec, upload, download, probe, wait_dead, list,
            terminate.
        most: after so many faults (delays not counted) nothing is hit any more; None for no limit.
    """

    fail: float = 0.0
    kill: float = 0.0
    hang: float = 0.0
    capacity: float = 0.0
    unknown: float = 0.0
    truncate: float = 0.0
    tear: float = 0.0
    delay: float = 0.0
    max_delay_secs: float = 0.05
    unknown_probes: int = 3
    operations: frozenset[str] = field(default=frozenset(), converter=_names)
    most: int | None = None

    def draw(self, operation: str, dice: random.Random) -> Fault | None:
        """The fault for one call, if there is one."""
        roll = dice.random()
        for fault in Fault:
            if fault is Fault.DELAY or fault not in _APPLIES[operation]:
                continue
            roll -= getattr(self, fault.value)
            if roll < 0:
                return fault
        return None


@frozen
class Injected:
    """A fault that was injected. `sandbox` is its name, or `*`."""

    operation: str
    sandbox: str
    fault: Fault


class Dice:
    """Decides about each call by seed, sandbox, operation and how many of these came before, not by timing."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.plan = plan
        self.log: list[Injected] = []
        self._seed = seed
        self._calls: Counter[tuple[str, str]] = Counter()

    def roll(self, operation: str, sandbox: str) -> tuple[Fault | None, random.Random]:
        """The fault for this call, and the dice for what else there is to decide about it."""
        number = self._calls[operation, sandbox]
        self._calls[operation, sandbox] += 1
        dice = random.Random(f"{self._seed} {operation} {sandbox} {number}")
        fault = self.plan.draw(operation, dice)
        if self.plan.operations and operation not in self.plan.operations:
            return None, dice
        hits = sum(injected.fault is not Fault.DELAY for injected in self.log)
        if self.plan.most is not None and hits >= self.plan.most:
            return None, dice
        return fault, dice

    def note(self, operation: str, sandbox: str, fault: Fault) -> None:
        """Write down that a fault took place."""
        self.log.append(Injected(operation, sandbox, fault))

    async def call(self, operation: str, sandbox: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be delayed, fail or hang; other faults are the caller's."""
        fault, dice = self.roll(operation, sandbox)
        return await self.apply(fault, dice, operation, sandbox, call)

    async def apply(
        self, fault: Fault | None, dice: random.Random, operation: str, sandbox: str, call: Callable[[], Awaitable[T]]
    ) -> T:
        """Make a call with the fault that was drawn for it."""
        if Fault.DELAY in _APPLIES[operation] and dice.random() < self.plan.delay:
            self.note(operation, sandbox, Fault.DELAY)
            await asyncio.sleep(dice.uniform(0, self.plan.max_delay_secs))
        if fault is Fault.HANG:
            self.note(operation, sandbox, fault)
            await asyncio.get_running_loop().create_future()
        if fault is not Fault.FAIL:
            return await call()
        self.note(operation, sandbox, fault)
        error = dice.choice(_ERRORS.get(operation, _ANY_ERROR))
        # An exec that had its effect has no handle that could end it, and a death that was seen is told.
        if operation not in ("exec", "wait_dead") and dice.random() < 0.5:
            await call()
        raise error("injected", operation=operation, sandbox=sandbox)
