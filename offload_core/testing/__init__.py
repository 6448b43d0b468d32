"""For authors of plugins: a conformance suite, and a provider that fails on purpose."""

from ._conformance import ProviderConformance
from ._dice import Fault, FaultPlan, Injected
from ._faults import FaultyProvider, FaultySandbox
from ._running import run_checks
from ._subject import Subject

__all__ = [
    "Fault",
    "FaultPlan",
    "FaultyProvider",
    "FaultySandbox",
    "Injected",
    "ProviderConformance",
    "Subject",
    "run_checks",
]
