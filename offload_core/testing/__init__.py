"""For authors of plugins: a conformance suite, and a provider that fails on purpose."""

from ._dice import Fault, FaultPlan, Injected
from .conformance import ProviderConformance
from .faults import FaultyProvider

__all__ = ["Fault", "FaultPlan", "FaultyProvider", "Injected", "ProviderConformance"]
