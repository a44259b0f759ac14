"""The files that repeat the topic list agree with it."""

from services.notification.mail.delivery import PUBLISHER, TOPIC
from sidecart.launcher.project import root
from sidecart.launcher.servers.login_templates import templates
from sidecart.launcher.topic_scopes import FILE, file_text
from sidecart.launcher.topics import read_topics


def test_the_file_is_up_to_date() -> None:
    """The sidecars of `dapr run` and of the containers read it."""
    assert file_text() == (root() / FILE).read_text(encoding="utf-8"), f"{FILE} is old: run `./sidecart scopes`"


def test_the_logins_of_the_containers_are_up_to_date() -> None:
    """Their servers read them."""
    for name, text in templates().items():
        assert text == (root() / name).read_text(encoding="utf-8"), f"{name} is old: run `./sidecart scopes`"


def test_the_file_needs_no_quotes() -> None:
    """A shell splits it at blanks, and not every reader of such files removes quotes."""
    assert not set(" \t'\"$") & set(file_text())


def test_the_mailer_knows_the_publisher_of_its_topic() -> None:
    """Any other source of a mail is a permanent error."""
    assert PUBLISHER == read_topics()[TOPIC].publisher
