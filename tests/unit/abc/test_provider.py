"""What every provider inherits for many sandboxes at once: probing, terminating, polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from attrs import frozen

from offload_core import errors
from offload_core.abc import (
    Command,
    Context,
    Liveness,
    LivenessSettings,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
)
from offload_core.errors import ProviderError, SandboxDead
from offload_core.kit import ShellSandbox

Behaviour = Callable[[], Coroutine[Any, Any, Any]]
WITHIN = 30.0
A, B, C = (SandboxRef(id=name) for name in "abc")


@frozen
class NoOptions:
    """None."""


class Scripted(Provider[NoOptions]):
    """Leaves out all of a backend: its sandboxes do what the test says."""

    Options = NoOptions
    terminate_secs = 0.05

    def __init__(self, behaviours: Mapping[str, Behaviour], **settings: float) -> None:
        liveness = LivenessSettings(**{"interval_secs": 0.001, "timeout_secs": 0.05, **settings})
        super().__init__(NoOptions(), Context(name="scripted", liveness=liveness))
        self.behaviours = behaviours
        self.running = 0
        self.most = 0

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Not needed."""
        raise NotImplementedError

    def attach(self, ref: SandboxRef) -> Sandbox:
        """A scripted one."""
        return ScriptedSandbox(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """None."""
        return []


class ScriptedSandbox(ShellSandbox):
    """Its probe and its termination are the test's."""

    def __init__(self, provider: Scripted, ref: SandboxRef) -> None:
        super().__init__(ref, provider.context)
        self.provider = provider

    async def exec(self, command: Command) -> Process:
        """Not needed."""
        raise NotImplementedError

    async def _act(self) -> Any:
        provider = self.provider
        provider.running += 1
        provider.most = max(provider.most, provider.running)
        try:
            return await provider.behaviours[self.ref.id]()
        finally:
            provider.running -= 1

    async def probe(self) -> Liveness:
        """As the test says."""
        answer = await self._act()
        assert isinstance(answer, Liveness)
        return answer

    async def terminate(self) -> None:
        """As the test says."""
        await self._act()


async def _alive() -> Liveness:
    return Liveness.alive()


async def _hang() -> None:
    await asyncio.get_running_loop().create_future()


def _raises(error: Exception) -> Behaviour:
    async def behaviour() -> None:
        raise error

    return behaviour


def test_is_retryable_follows_the_error_class() -> None:
    """By default an error may be retried exactly if its class says so, and what is final never may."""
    provider = Scripted({})
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ProviderError)]
    assert {cls for cls in classes if provider.is_retryable(cls("an error"))} == {
        errors.CreateFailed,
        errors.UploadFailed,
        errors.DownloadFailed,
        errors.ConnectionLost,
        errors.OperationTimedOut,
        errors.CapacityExhausted,
    }


async def test_probe_many_answers_for_each() -> None:
    """A probe that errs or takes too long is unknown, never dead, and keeps no other from being answered."""
    provider = Scripted({"a": _alive, "b": _raises(RuntimeError("broken")), "c": _hang})
    answers = await provider.probe_many([A, B, C])
    assert answers[A] == Liveness.alive()
    assert answers[B].is_unknown
    assert "broken" in answers[B].reason
    assert answers[C].is_unknown


async def test_probe_many_is_bounded() -> None:
    """No more than eight probes run at a time."""
    refs = [SandboxRef(id=str(number)) for number in range(40)]

    async def slow() -> Liveness:
        for _ in range(5):
            await asyncio.sleep(0)
        return Liveness.alive()

    provider = Scripted(dict.fromkeys((ref.id for ref in refs), slow), timeout_secs=WITHIN)
    answers = await provider.probe_many(refs)
    assert list(answers) == refs
    assert provider.most == 8


async def test_terminate_many_reports_what_failed() -> None:
    """Dead is success; every other failure is reported for its sandbox, and each of the others is still tried."""
    lost = errors.ConnectionLost("gone")
    behaviours: dict[str, Behaviour] = {
        "fine": _alive,
        "dead": _raises(SandboxDead("dead")),
        "lost": _raises(lost),
        "hangs": _hang,
        "broken": _raises(RuntimeError("a bug")),
    }
    refs = {name: SandboxRef(id=name) for name in behaviours}
    failed = await Scripted(behaviours).terminate_many(list(refs.values()))
    assert set(failed) == {refs["lost"], refs["hangs"], refs["broken"]}
    assert failed[refs["lost"]] is lost
    assert "no answer" in failed[refs["hangs"]].message
    assert "a bug" in failed[refs["broken"]].message
