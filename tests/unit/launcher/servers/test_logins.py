"""The passwords of a server's users."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sidecart.launcher.permissions import ADMINISTRATOR, keeper, permissions
from sidecart.launcher.servers.addresses import login_of, with_login, without_password
from sidecart.launcher.servers.logins import FILE, read_logins
from sidecart.launcher.topics import MONITOR, app_ids, every_reply_topic, read_topics


def test_passwords_stay_and_new_users_get_one(tmp_path: Path) -> None:
    """Only the owner may read the file, and a removed user is forgotten."""
    first = read_logins(tmp_path, ["a", "b"])
    second = read_logins(tmp_path, ["b", "c"])

    assert first["b"] == second["b"]
    assert len({*first.values(), *second.values()}) == 3
    assert ["b", "c"] == list(second)
    assert 0o600 == stat.S_IMODE((tmp_path / FILE).stat().st_mode)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "x:y@[::1]:6379", "amqp://a:b@host:5672/v", "amqp://host:5672/v"])
def test_an_address_gets_another_login(address: str) -> None:
    """Special characters are encoded."""
    changed = with_login(address, "an app", "p@ss:/word")

    assert without_password(address) == without_password(changed)
    assert "an%20app:p%40ss%3A%2Fword@" in changed


def test_the_login_of_an_address() -> None:
    """A password may stand without a user."""
    assert ("a b", "c@d") == login_of(with_login("h:1", "a b", "c@d"))
    assert ("", "c") == login_of(":c@h:1")
    assert ("", "") == login_of("h:1")


def test_the_rights_are_those_of_the_topic_list() -> None:
    """The tap and the live page read every topic; no other user than an app has records."""
    rights = {each.app_id: each for each in permissions()}

    assert ADMINISTRATOR not in rights
    for name, topic in read_topics().items():
        assert [topic.publisher] == [app_id for app_id, each in rights.items() if name in each.publishes]
        assert {*topic.consumers, "tap", MONITOR} == {app_id for app_id, each in rights.items() if name in each.reads}
    assert set(app_ids()) == {app_id for app_id, each in rights.items() if each.has_records}
    assert "gateway-19-Replies-gateway-19-user" in rights["gateway"].queues
    assert "gateway-0-UserCreated" in rights["gateway"].queues
    assert "user-UserCreateRequested" in rights["user"].queues


def test_a_reply_topic_has_one_publisher_and_the_gateways_read_it() -> None:
    """No other app may forge or read the replies of a service."""
    rights = {each.app_id: each for each in permissions()}

    for topic, publisher in every_reply_topic().items():
        assert [publisher] == [app_id for app_id, each in rights.items() if topic in each.publishes]
        assert ["gateway"] == [app_id for app_id, each in rights.items() if topic in each.reads]


def test_the_keeper_removes_what_gateways_left() -> None:
    """It reads no event and has no records."""
    rights = keeper("keeper")

    assert {"gateway-0-UserCreated", "gateway-19-Replies-gateway-19-user"} <= set(rights.removes)
    assert set(every_reply_topic()) == set(rights.drops)
    assert (False, (), ()) == (rights.has_records, rights.publishes, rights.reads)
