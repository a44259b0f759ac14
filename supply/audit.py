"""Asks a database of vulnerabilities about each locked package, by pip-audit."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecart.launcher.project import root
from supply import tools

TIMEOUT_SECONDS = 15


class DataUnreachable(Exception):
    """The database does not answer, or does not know a package; the text is the reason."""


@dataclass(frozen=True, slots=True, order=True)
class Vulnerability:
    """One known vulnerability of a locked package."""

    package: str
    version: str
    id: str
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {self.id}; fixed in {', '.join(self.fixed) or 'no version'}"


def audit(python: Path, lock: str, source: Sequence[str] = ()) -> list[Vulnerability]:
    """Return the known vulnerabilities of a lock's packages; `source` chooses the database.

    Raises DataUnreachable. The first package is asked for alone: pip-audit also succeeds where an
    index has no data, and then reports every package as skipped.
    """
    text = (root() / lock).read_text(encoding="utf-8")
    first = re.match(r".*?(?<!\\)\n", text, re.DOTALL)
    assert first is not None, f"{lock} is empty"
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "first.lock"
        probe.write_text(first[0], encoding="utf-8")
        _ask(python, probe, source)
    return _ask(python, root() / lock, source)


def _ask(python: Path, lock: Path, source: Sequence[str]) -> list[Vulnerability]:
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    command = [str(python), "-m", "pip_audit", *options, "--timeout", str(TIMEOUT_SECONDS), *source, "-r", str(lock)]
    done = subprocess.run(command, env=tools.environment(), capture_output=True, text=True, check=False)
    try:
        answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = done.stderr.strip().splitlines()
        raise DataUnreachable(lines[-1] if lines else f"pip-audit ended with {done.returncode}") from None
    skipped = [each["skip_reason"] for each in answers if "skip_reason" in each]
    if skipped:
        raise DataUnreachable(f"{len(skipped)} of {len(answers)} packages not audited: {skipped[0]}")
    return sorted(
        Vulnerability(each["name"], each["version"], one["id"], tuple(one["fix_versions"]))
        for each in answers
        for one in each["vulns"]
    )
