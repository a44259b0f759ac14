"""The foreign service's own tests, run as its README says."""

import subprocess

from cli.project import ROOT


def test_its_own_tests_pass() -> None:
    """`npm test` in its folder."""
    done = subprocess.run(
        ["npm", "test"], cwd=ROOT / "examples" / "user-node", capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout[-5000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout
