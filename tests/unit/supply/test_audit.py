"""An audit without data is no success, whatever pip-audit's exit code is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecart.launcher.project import root
from supply import audit, command, locks, tools
from tests.unit.supply import fake_pip_audit

VULNERABLE = {"name": "jinja2", "version": "2.11.2", "vulns": [{"id": "PYSEC-2021-66", "fix_versions": ["2.11.3"]}]}
CLEAN = {"name": "aiohttp", "version": "1.0", "vulns": []}
SKIPPED = {"name": "aiohttp", "skip_reason": "Dependency not found on PyPI and could not be audited"}
LOCK = locks.LOCKS[locks.IMAGE]


def program(folder: Path, answer: object, code: int = 0) -> Path:
    """Return a program with pip-audit's interface and one answer.

    It counts the packages that it is asked for.
    """
    (folder / "answer").write_text(answer if isinstance(answer, str) else json.dumps({"dependencies": answer}))
    made = folder / "python"
    made.write_text(fake_pip_audit.TEXT.format(folder=folder, code=code))
    made.chmod(0o755)
    return made


def test_a_vulnerability_is_reported_with_its_fix(tmp_path: Path) -> None:
    """pip-audit ends with 1, which is no error here."""
    [found] = audit.audit(program(tmp_path, [CLEAN, VULNERABLE], code=1), LOCK)

    assert "jinja2 2.11.2: PYSEC-2021-66; fixed in 2.11.3" == str(found)


def test_clean_packages_give_no_finding(tmp_path: Path) -> None:
    """The first package of the lock is asked for alone, then the whole lock."""
    assert [] == audit.audit(program(tmp_path, [CLEAN]), LOCK)
    asked = [int(line) for line in (tmp_path / "asked").read_text().split()]
    assert [1, len(locks.packages(LOCK))] == asked


def test_a_skipped_package_is_no_success(tmp_path: Path) -> None:
    """pip-audit ends with 0 where an index has no data; only one package is asked for then."""
    with pytest.raises(audit.DataUnreachable, match=r"1 of 1 packages not audited: .* not found on PyPI"):
        audit.audit(program(tmp_path, [SKIPPED]), LOCK)
    assert ["1"] == (tmp_path / "asked").read_text().split()


def test_an_unreachable_database_is_no_vulnerability(tmp_path: Path) -> None:
    """pip-audit ends with 1, as with a vulnerability; the reason is the last line of its error."""
    with pytest.raises(audit.DataUnreachable, match="ConnectionError: no route"):
        audit.audit(program(tmp_path, "", code=1), LOCK)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([CLEAN], 0, "requirements.lock: 0 known vulnerabilities"),
        ([VULNERABLE], 1, "jinja2 2.11.2: PYSEC-2021-66"),
        ([SKIPPED], command.UNREACHABLE, "audit: not done, the data is not reachable"),
    ],
)
def test_the_command_has_a_code_for_each_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: list[object], code: int, words: str
) -> None:
    """0: nothing known; 1: a vulnerability; 3: no data."""
    made = program(tmp_path, answer, code=1)
    monkeypatch.setattr(tools, "python", lambda report, deadline: made)

    done = CliRunner().invoke(command.audit_locks, standalone_mode=False)

    assert code == done.return_value
    assert words in done.output


def test_ci_audits_and_the_release_attaches_the_bills() -> None:
    """No job that executes the tools of the supply chain can write to the repository."""
    ci = (root() / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    release = (root() / ".github/workflows/release.yml").read_text(encoding="utf-8")

    assert "run: make audit" in ci
    assert "run: ./sidecart sbom --folder dist" in release
    assert "needs: [build, bills]" in release
