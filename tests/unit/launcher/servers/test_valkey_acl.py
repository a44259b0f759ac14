"""The rules of the logins at a Redis-compatible server."""

from __future__ import annotations

from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.servers.valkey_acl import acl_file


def test_the_default_login_is_off_and_keeps_its_rights() -> None:
    """No password admits it, and a restarting Redis 7 replays its file with its rights.

    tests/compose restarts such a server and looks for a record.
    """
    apps = permissions()
    first = acl_file({ADMINISTRATOR: ">a", **{each.app_id: ">b" for each in apps}}, apps).splitlines()[0].split()

    assert ["user", "default", "off"] == first[:3]
    assert {"resetpass", "~*", "&*", "+@all"} <= set(first)
    assert [] == [word for word in first if word == "nopass" or word[0] in ">#"]
