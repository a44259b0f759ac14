"""A contradiction of settings prevents the start, with a message that names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.checks import check
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import plan_of
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring


def test_auth_off_and_an_issuer_contradict(tmp_path: Path) -> None:
    """The shop would be open, although its user named an issuer."""
    env = {"AUTH": "off", "OIDC_ISSUER": "https://id.example", "OIDC_AUDIENCE": "shop"}
    state = State(plan_of(Options("redis", folder=tmp_path, env=env)))

    with pytest.raises(LaunchError, match="unset AUTH, or OIDC_ISSUER, OIDC_AUDIENCE"):
        check(state, Wiring())
