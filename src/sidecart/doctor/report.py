"""Print findings as text, or as one JSON object a line."""

import json
from collections.abc import Sequence

from sidecart.doctor.findings import Finding, Severity
from sidecart.doctor.targets import Inspected


def human(findings: Sequence[Finding], inspected: Inspected, ran: str) -> list[str]:
    """Two lines for each finding, then a summary line."""
    lines = []
    for one in findings:
        lines += [f"{one.severity:7} {one.place}: {one.what} [{one.rule}]", f"{'':7} fix: {one.fix.strip()}"]
    counts = ", ".join(_counted(sum(one.severity is kind for one in findings), kind) for kind in Severity)
    if lines:
        lines.append("")
    return [*lines, f"{_counted(inspected.files, 'file')} read{ran}: {counts}"]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_json(findings: Sequence[Finding]) -> list[str]:
    """One JSON object for each finding."""
    return [
        json.dumps(
            {
                "rule": one.rule,
                "severity": one.severity.value,
                "file": one.place.file,
                "line": one.place.line or None,
                "what": one.what,
                "fix": one.fix.strip(),
            }
        )
        for one in findings
    ]
