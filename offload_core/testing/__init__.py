"""For authors of plugins: a conformance suite, and a provider that fails on purpose."""

from ._conformance import ProviderConformance as ProviderConformance
from ._dice import Fault as Fault, FaultPlan as FaultPlan, Injected as Injected
from ._faults import FaultyProvider as FaultyProvider, FaultySandbox as FaultySandbox
from ._running import run_checks as run_checks
from ._subject import Subject as Subject
