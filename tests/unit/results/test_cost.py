"""What a run cost: each sandbox by its provider's price, and sums that mean something."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from offload_core.abc import CostEstimate, SandboxRef
from offload_core.config.schema import ReportTable
from offload_core.events import CostEstimated, Event, SandboxEnded, SandboxReady, Warned
from offload_core.results.console import ConsoleOptions
from offload_core.results.directory import OutputDirectory
from offload_core.results.reporter import Reporter
from offload_core.results.summary import cost_of
from tests.support.simulation import Backend, Behaviour, MemoryProvider, make_tests, simulate
from tests.support.synthetic import ended, found, run_of, stamped
from tests.support.virtual_time import run_virtually


def cost(sandbox: str, amount: float, currency: str = "USD", leaves_out: str = "") -> CostEstimated:
    """What a sandbox cost, that was there for ten seconds."""
    return CostEstimated(sandbox=sandbox, seconds=10.0, cost=CostEstimate(amount, currency, leaves_out))


def test_sums() -> None:
    """One currency is added up, and what the numbers leave out is said once."""
    told = cost_of([cost("s1", 0.1, leaves_out="memory"), cost("s2", 0.2, leaves_out="memory")])
    assert told == {
        "amount": 0.3,
        "currency": "USD",
        "by_currency": {"USD": 0.3},
        "leaves_out": "memory",
        "sandboxes": {
            "s1": {"amount": 0.1, "currency": "USD", "seconds": 10.0},
            "s2": {"amount": 0.2, "currency": "USD", "seconds": 10.0},
        },
    }
    assert cost_of([]) is None


def test_several_currencies_are_not_added_up() -> None:
    """Each has its own sum, and there is none of all."""
    told = cost_of([cost("s1", 1.0, leaves_out="tax"), cost("s2", 2.0, "EUR", "memory"), cost("s3", 4.0, "EUR")])
    assert told is not None
    assert (told["amount"], told["currency"]) == (None, None)
    assert told["by_currency"] == {"USD": 1.0, "EUR": 6.0}
    assert told["leaves_out"] == "tax; memory"


@pytest.mark.parametrize("asked", [True, False])
def test_the_console(tmp_path: Path, asked: bool) -> None:
    """In all and of each sandbox, with what is left out, if that was asked for; `summary.json` has it anyway."""
    stdout, stderr = io.StringIO(), io.StringIO()
    console = ConsoleOptions(stdout=stdout, stderr=stderr, environ={})
    costs: list[Event] = [cost(f"s{number}", 0.01, leaves_out="memory") for number in range(1, 31)]
    with (
        OutputDirectory(tmp_path) as directory,
        Reporter(directory, ReportTable(), console=console, show_cost=asked) as reporter,
    ):
        for each in stamped(run_of(found("a"), ended("a"), *costs)):
            reporter.consumer(each)
        assert reporter.finish(0) == 0
    printed = stdout.getvalue()
    assert ("Estimated cost (without memory):" in printed) == asked
    assert ("       $0.3000  in all" in printed) == asked
    assert ("       $0.0100  s20, 10.0s" in printed) == asked
    assert "s21, 10.0s" not in printed
    assert '"amount": 0.3' in (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert "price" not in stderr.getvalue()


class Priced(MemoryProvider):
    """A cent a second; a price list that breaks for some."""

    def cost(self, ref: SandboxRef, seconds: float) -> CostEstimate | None:
        """By time."""
        if ref.name == "s2":
            raise KeyError("no such machine")
        return CostEstimate(seconds / 100, leaves_out="everything else")


def test_it_is_asked_when_a_sandbox_has_ended() -> None:
    """For the time that it was there; dead ones cost, too, and a price list that breaks is a warning."""
    behaviours = {f"t{number}": Behaviour(secs=1.0) for number in range(12)}
    behaviours["t3"] = Behaviour(secs=1.0, ends="once-sandbox")
    tests = make_tests(behaviours)
    backend = Backend(suite=behaviours)

    async def main() -> Any:
        return await simulate(tests, backend, provider=Priced, max_parallel=3)

    simulated = run_virtually(main())
    ready = {each.event.sandbox: each.at for each in simulated.events if isinstance(each.event, SandboxReady)}
    ended_at = {each.event.sandbox: each.at for each in simulated.events if isinstance(each.event, SandboxEnded)}
    costs = {event.sandbox: event for event in simulated.of(CostEstimated)}
    assert costs.keys() == ready.keys() - {"s2"}
    for name, event in costs.items():
        assert event.seconds == pytest.approx(ended_at[name] - ready[name])
        assert event.cost.amount == pytest.approx(event.seconds / 100)
    assert [each.message for each in simulated.of(Warned)] == [
        "what sandbox s2 cost could not be found out: KeyError('no such machine')"
    ]
