"""`sidecart sbom`, `licenses` and `audit`: the packages that this project depends on."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import click

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from supply import licenses, locks, tools
from supply.audit import DataUnreachable, audit
from supply.sbom import bill

UNREACHABLE = 3
"""The exit code of an audit without data: neither success nor a vulnerability."""


@click.command("sbom")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("dist"), help="where the files go")
def write_bills(folder: Path) -> int:
    """Write the bills of materials of the image and of the developer's environment (CycloneDX)."""
    python = tools.python(_to_stderr, Deadline())
    version = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    folder.mkdir(parents=True, exist_ok=True)
    for kind in locks.LOCKS:
        file = folder / f"sidecart-{version}-{kind}.cdx.json"
        file.write_text(bill(python, kind), encoding="utf-8")
        print(file)
    return 0


@click.command("licenses")
@click.option("--write", is_flag=True, help=f"write the table of {licenses.PAGE}")
def check_licenses(write: bool) -> int:
    """Check the license of each locked package.

    The exit code is 1 if a license is unknown or not allowed.
    """
    if write:
        text = licenses.page()
        (root() / licenses.PAGE).write_text(text, encoding="utf-8")
    found = licenses.found()
    problems = licenses.problems(found, locks.names(locks.LOCKS[locks.IMAGE]))
    for line in problems:
        print(line)
    print(f"licenses: {len(found)} packages, {len(problems)} problems")
    return 1 if problems else 0


@click.command("audit")
def audit_locks() -> int:
    """Look for known vulnerabilities of the locked packages, by pip-audit.

    The exit code is 1 if there is one, and 3 if the data is not reachable.
    """
    python = tools.python(_to_stderr, Deadline())
    found = set()
    for lock in locks.AUDITED:
        try:
            of_lock = audit(python, lock)
        except DataUnreachable as reason:
            print(f"audit: not done, the data is not reachable: {reason}")
            return UNREACHABLE
        print(f"{lock}: {len(of_lock)} known vulnerabilities")
        found |= set(of_lock)
    for each in sorted(found):
        print(each)
    return 1 if found else 0


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
