"""What `check()` found: the input of `offload doctor`."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Severity(StrEnum):
    """How much a finding matters. Only an `ERROR` makes a `Health` not ok."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@frozen
class Finding:
    """One thing that was looked at: what was seen, and what to do if it is not as it should be."""

    severity: Severity
    what: str
    remedy: str = ""


@frozen
class Health:
    """The findings of one check."""

    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether a run can be expected to start."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)
