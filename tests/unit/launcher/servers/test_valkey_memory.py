"""The memory limit of a Redis-compatible server."""

from __future__ import annotations

import psutil
import pytest

from sidecart.chassis.settings import SettingError
from sidecart.launcher.servers.valkey_memory import ALARM_SHARE, MB, SETTING, memory_mb, warning


def test_the_usual_limit_is_a_share_of_the_machine() -> None:
    """A setting overrides it."""
    assert 16 <= memory_mb({}) <= psutil.virtual_memory().total // MB
    assert 512 == memory_mb({SETTING: "512"})


@pytest.mark.parametrize("value", ["x", "-1", "1", "1.5"])
def test_a_wrong_limit_is_refused(value: str) -> None:
    """The message names the setting."""
    with pytest.raises(SettingError, match=SETTING):
        memory_mb({SETTING: value})


@pytest.mark.parametrize(
    ("used", "limit", "warns"), [(79, 100, False), (80, 100, True), (120, 100, True), (9, 0, False)]
)
def test_a_server_warns_before_its_memory_is_full(used: int, limit: int, warns: bool) -> None:
    """A server without a limit does not warn."""
    text = warning({"used_memory": used * MB, "maxmemory": limit * MB})

    assert warns == (text is not None)
    assert 0.8 == ALARM_SHARE
    assert text is None or f"{used}%" in text
