"""The logins of a RabbitMQ server, as a file of definitions that it loads at each start (ADR 54).

Each permission is a regular expression on the names of exchanges and queues. The calls of daprd's
component need these (components-contrib 1.18.3, pubsub/rabbitmq/rabbitmq.go; RabbitMQ's guide to
access control):

    declare an exchange or a queue    configure it
    publish                           write to the exchange
    bind a queue to an exchange       write to the queue, read from the exchange
    consume                           read from the queue
    delete a queue                    configure it

So a subscription that names another app's queue (`queueName`) fails when the sidecar declares it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecart.launcher.permissions import ADMINISTRATOR, Permissions
from sidecart.launcher.servers.rabbitmq_queues import name_of
from sidecart.launcher.topics import MONITOR, monitor_subscriptions

VHOST = "/"
FORMER = "guest"
"""The login that a server of an earlier version created. Without a password hash it is refused."""
TAGS = {ADMINISTRATOR: "administrator"}
SALT_BYTES = 4
PAGE_QUEUE_MS = 10 * 60 * 1000
"""How long a queue of the live page stays without a consumer.

It is longer than a restart of the page's sidecar takes, so that a browser misses no event.
"""

Password = Mapping[str, str]
"""The keys that set the password of one login."""
NO_PASSWORD: Password = {"password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256"}


class Patterns(NamedTuple):
    """The regular expressions of one login, in the sequence of `rabbitmqctl set_permissions`."""

    configure: str
    write: str
    read: str


ALL = Patterns(".*", ".*", ".*")
NONE = Patterns("^$", "^$", "^$")


def patterns(app: Permissions) -> Patterns:
    """Return the permissions of an app."""
    return Patterns(
        configure=_one_of([*app.publishes, *app.reads, *app.queues, *app.removes]),
        write=_one_of([*app.publishes, *app.queues]),
        read=_one_of([*app.reads, *app.queues]),
    )


def _one_of(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(re.escape(name) for name in names))
    return f"^({'|'.join(found)})$" if found else NONE.read


def definitions(passwords: Mapping[str, Password], permissions: Iterable[Permissions]) -> str:
    """Return the content of the file, for these passwords by login."""
    rights = {ADMINISTRATOR: ALL, **{each.app_id: patterns(each) for each in permissions}, FORMER: NONE}
    document = {"vhosts": [{"name": VHOST}], **_logins(passwords, rights, VHOST), "policies": [_page_policy()]}
    return json.dumps(document, indent=1) + "\n"


def _page_policy() -> dict[str, object]:
    """Return the policy by which the server deletes the live page's queues.

    The page deletes them itself, unless it is killed or the server stops before it.
    """
    return {
        "vhost": VHOST,
        "name": MONITOR,
        "pattern": _one_of(name_of(one) for one in monitor_subscriptions()),
        "apply-to": "queues",
        "definition": {"expires": PAGE_QUEUE_MS},
        "priority": 0,
    }


def logins_of_apps(logins: Mapping[str, str], permissions: Iterable[Permissions], vhost: str) -> str:
    """Return definitions of the apps' logins only, for a server that has others."""
    return json.dumps(_logins(hashed(logins), {each.app_id: patterns(each) for each in permissions}, vhost)) + "\n"


def _logins(passwords: Mapping[str, Password], rights: Mapping[str, Patterns], vhost: str) -> dict[str, object]:
    return {
        "users": [{"name": name, **passwords.get(name, NO_PASSWORD), "tags": TAGS.get(name, "")} for name in rights],
        "permissions": [{"user": name, "vhost": vhost, **each._asdict()} for name, each in rights.items()],
    }


def hashed(logins: Mapping[str, str]) -> dict[str, Password]:
    """Return the salted SHA-256 of each password, as the file has it."""
    return {name: {**NO_PASSWORD, "password_hash": _hash(password)} for name, password in logins.items()}


def _hash(password: str) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
