"""What the sandboxes of a run cost, by their provider's prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ..events import CostEstimated

DIGITS = 6
"""Decimal places that amounts are kept with: a second of a sandbox is a tiny part of a unit."""


def cost_of(costs: Iterable[CostEstimated]) -> dict[str, Any] | None:
    """What `summary.json` holds as `cost`; None if the provider states no prices.

    `amount` and `currency` are those of the whole run, both None if there are several currencies: they are not added
    up. `sandboxes` has the amount, currency and seconds of each, `leaves_out` what the numbers leave out, in words.
    """
    costs = list(costs)
    if not costs:
        return None
    sums: dict[str, float] = defaultdict(float)
    for each in costs:
        sums[each.cost.currency] += each.cost.amount
    by_currency = {currency: round(amount, DIGITS) for currency, amount in sums.items()}
    currency, amount = next(iter(by_currency.items())) if len(by_currency) == 1 else (None, None)
    return {
        "amount": amount,
        "currency": currency,
        "by_currency": by_currency,
        "leaves_out": "; ".join(dict.fromkeys(each.cost.leaves_out for each in costs if each.cost.leaves_out)),
        "sandboxes": {
            each.sandbox: {
                "amount": round(each.cost.amount, DIGITS),
                "currency": each.cost.currency,
                "seconds": round(each.seconds, 3),
            }
            for each in costs
        },
    }
