"""What a check found: findings with a severity, as a table for a terminal and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "warn", "fail"]
SEVERITIES: tuple[Severity, ...] = ("fail", "warn", "ok")  # the gravest first


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    severity: Severity
    message: str
    remedy: str = ""  # what to do about it
    details: dict[str, Any] = field(default_factory=dict)  # numbers and examples behind the message


def ok(check: str, message: str, **details: Any) -> Finding:
    """The check found nothing wrong."""
    return Finding(check=check, severity="ok", message=message, details=details)


def warn(check: str, message: str, *, remedy: str = "", **details: Any) -> Finding:
    """The user should know of it; nothing has to stop."""
    return Finding(check=check, severity="warn", message=message, remedy=remedy, details=details)


def fail(check: str, message: str, *, remedy: str = "", **details: Any) -> Finding:
    """Results cannot be trusted (audit), or something needed is missing (doctor); the script ends with exit code 1."""
    return Finding(check=check, severity="fail", message=message, remedy=remedy, details=details)


def failed(findings: Sequence[Finding]) -> bool:
    """Whether a finding is a failure."""
    return any(finding.severity == "fail" for finding in findings)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Number of findings of each severity."""
    return {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}


def text_table(findings: Sequence[Finding], labels: Mapping[Severity, str], width: int | None = None) -> str:
    """One paragraph a finding, the gravest first, each with its remedy below.

    labels: the words for the severities.  width: of a line, in characters; None breaks no line.
    """
    left = max((len(finding.check) for finding in findings), default=0)
    label = max(map(len, labels.values()))
    lines = []
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        head = f"{labels[finding.severity]:<{label}}  {finding.check:<{left}}  "
        indent = " " * len(head)
        lines.append(_paragraph(finding.message, head, indent, width))
        if finding.remedy:
            lines.append(_paragraph(f"-> {finding.remedy}", indent, indent, width))
    return "\n".join(lines)


def _paragraph(text: str, head: str, indent: str, width: int | None) -> str:
    if not text or width is None:
        return f"{head}{text}".rstrip()
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=indent)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The content of `audit.json`."""
    return {
        "clean": not failed(findings),
        "counts": counts(findings),
        "findings": [asdict(finding) for finding in findings],
    }
