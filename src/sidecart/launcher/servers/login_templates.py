"""The logins of the servers in containers: files with a placeholder in place of each password.

The container of a server fills the passwords in when it starts (tye-or-compose/with-logins).
"""

from __future__ import annotations

from sidecart.launcher.permissions import ADMINISTRATOR, TRIMMER, keeper, permissions, trimmer
from sidecart.launcher.servers.postgres_roles import repeatable
from sidecart.launcher.servers.rabbitmq_definitions import definitions
from sidecart.launcher.servers.valkey_acl import acl_file
from sidecart.launcher.topic_scopes import TAP

REDIS = "tye-or-compose/redis.acl"
RABBITMQ = "tye-or-compose/rabbitmq.json"
POSTGRES = "tye-or-compose/postgres.sql"
KEEPER = "keeper"
"""The login of the keepers: one counts consumers, the other removes what gone gateways left."""


def templates() -> dict[str, str]:
    """Return the content of each file by its path in the project.

    The tap of the tests has no login in containers. The live page has one at the brokers.
    """
    apps = [each for each in permissions() if each.app_id != TAP]
    names = [ADMINISTRATOR, KEEPER, TRIMMER, *(each.app_id for each in apps)]
    owners = [ADMINISTRATOR, *(each.app_id for each in apps if each.has_records)]
    return {
        REDIS: acl_file({name: f">{_placeholder(name)}" for name in names}, [*apps, keeper(KEEPER), trimmer()]),
        RABBITMQ: definitions({name: {"password": _placeholder(name)} for name in names}, [*apps, keeper(KEEPER)]),
        POSTGRES: repeatable(ADMINISTRATOR, {name: _placeholder(name) for name in owners}),
    }


def _placeholder(name: str) -> str:
    return f"@{name}@"
