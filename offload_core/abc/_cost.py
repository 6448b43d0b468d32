"""What a sandbox costs."""

from __future__ import annotations

from attrs import frozen


@frozen
class CostEstimate:
    """An estimate in one currency, and what the number leaves out."""

    amount: float
    currency: str = "USD"
    leaves_out: str = ""
