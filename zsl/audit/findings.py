"""What an audit says: findings with a severity, as a table and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "warn", "fail"]
SEVERITIES: tuple[Severity, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check; `details` has the numbers and examples behind the message."""

    check: str
    severity: Severity
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def ok(check: str, message: str, **details: Any) -> Finding:
    """Nothing wrong was found."""
    return Finding(check=check, severity="ok", message=message, details=details)


def warn(check: str, message: str, **details: Any) -> Finding:
    """To be known by whoever reads the results; not a leak that makes them void."""
    return Finding(check=check, severity="warn", message=message, details=details)


def fail(check: str, message: str, **details: Any) -> Finding:
    """The results cannot be trusted."""
    return Finding(check=check, severity="fail", message=message, details=details)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Number of findings of each severity."""
    return {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}


def table(findings: Sequence[Finding], width: int = 120) -> str:
    """One paragraph a finding, the gravest first, and a last line with the verdict."""
    left = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        head = f"{finding.severity.upper():<4}  {finding.check:<{left}}  "
        lines.append(
            textwrap.fill(finding.message, width, initial_indent=head, subsequent_indent=" " * len(head))
            if finding.message
            else head.rstrip()
        )
    number = counts(findings)
    verdict = "NOT CLEAN" if number["fail"] else "clean, but look at the warnings" if number["warn"] else "clean"
    return "\n".join([*lines, f"{verdict}: {', '.join(f'{n} {severity}' for severity, n in number.items())}"])


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The content of `audit.json`."""
    return {
        "clean": not counts(findings)["fail"],
        "counts": counts(findings),
        "findings": [asdict(finding) for finding in findings],
    }
