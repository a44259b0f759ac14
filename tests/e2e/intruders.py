"""An intruder with the login of one app at each server, and servers without access control."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pika
import pika.exceptions
import psycopg
import valkey
from psycopg import sql

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.servers import rabbitmq
from sidecart.launcher.servers.rabbitmq_definitions import ALL, patterns
from sidecart.launcher.servers.rabbitmq_queues import connection
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.valkey_acl import rule, words_of


class Store(Protocol):
    """The attacks at a store, with an address and its login."""

    def reads(self, address: str, key: str) -> bool:
        """Whether it reads a record of an app."""

    def writes(self, address: str, key: str) -> bool:
        """Whether it writes a record of an app."""


class Broker(Protocol):
    """The attacks at a broker, with an address and its login."""

    def publishes(self, address: str, topic: str) -> bool:
        """Whether it publishes a message, which no app can parse."""

    def reads(self, address: str, topic: str) -> bool:
        """Whether it reads a topic."""

    def takes(self, address: str, topic: str, consumer: str) -> bool:
        """Whether it reads as another app."""


class Redis:
    """The intruder at Valkey."""

    def reads(self, address: str, key: str) -> bool:
        """Read a record, or a stream."""
        return self._can(address, "HGETALL" if "||" in key else "XRANGE", key, *([] if "||" in key else ["-", "+"]))

    def writes(self, address: str, key: str) -> bool:
        """Write a record."""
        return self._can(address, "HSET", key, "data", "{}", "version", "1")

    def publishes(self, address: str, topic: str) -> bool:
        """Add an entry."""
        return self._can(address, "XADD", topic, "*", "data", "no JSON")

    def takes(self, address: str, topic: str, consumer: str) -> bool:
        """Read with the group of another app."""
        return self._can(address, "XREADGROUP", "GROUP", consumer, "thief", "STREAMS", topic, ">")

    def _can(self, address: str, *words: str) -> bool:
        with valkey.Valkey.from_url(f"redis://{address}") as client:
            try:
                client.execute_command(*words)
            except valkey.exceptions.NoPermissionError:
                return False
            return True


class RabbitMq:
    """The intruder at RabbitMQ."""

    def publishes(self, address: str, topic: str) -> bool:
        """Publish, and wait for the confirmation."""

        def publish(channel: Any) -> None:
            channel.confirm_delivery()
            channel.basic_publish(topic, "", b"no JSON")

        return self._can(address, publish)

    def reads(self, address: str, topic: str) -> bool:
        """Bind a queue of its own."""

        def bind(channel: Any) -> None:
            name = channel.queue_declare(f"thief-{uuid.uuid4()}", exclusive=True).method.queue
            channel.queue_bind(name, topic)

        return self._can(address, bind)

    def takes(self, address: str, topic: str, consumer: str) -> bool:
        """Get from the queue of another app, and give back."""
        return self._can(address, lambda channel: channel.basic_get(f"{consumer}-{topic}"))

    def _can(self, address: str, attack: Any) -> bool:
        with connection(address) as opened:
            try:
                attack(opened.channel())
            except pika.exceptions.ChannelClosedByBroker as error:
                if error.reply_code != 403:
                    raise
                return False
            return True


class Postgres:
    """The intruder at PostgreSQL."""

    def reads(self, address: str, key: str) -> bool:
        """Read a record."""
        return self._can(address, key, "SELECT value FROM {} WHERE key = %s")

    def writes(self, address: str, key: str) -> bool:
        """Write a record."""
        return self._can(address, key, "UPDATE {} SET value = '{{}}' WHERE key = %s")

    def _can(self, address: str, key: str, statement: str) -> bool:
        table = sql.Identifier(key.partition("||")[0], "state")
        with psycopg.connect(address) as client:
            try:
                client.execute(sql.SQL(statement).format(table), (key,))
            except psycopg.errors.InsufficientPrivilege:
                return False
            return True


BROKER_OF: dict[str, Broker] = {"redis": Redis(), "rabbitmq": RabbitMq()}
STORE_OF: dict[str, Store] = {"redis": Redis(), "postgres": Postgres()}


@contextmanager
def unlimited(shop: System, user: str) -> Iterator[None]:
    """Take the access control away: the user may do everything at broker and store."""
    _set_limits(shop, user, is_limited=False)
    try:
        yield
    finally:
        _set_limits(shop, user, is_limited=True)


def _set_limits(shop: System, user: str, *, is_limited: bool) -> None:
    app = next(each for each in permissions() if each.app_id == user)
    if "redis" in (shop.options.broker, shop.options.store):
        server = STORES["redis"]
        password = server.logins(shop.data)[user]
        words = words_of(rule(app, f">{password}")) if is_limited else ["allkeys", "allcommands"]
        with valkey.Valkey.from_url(f"redis://{shop.state.addresses[server.env]}") as client:
            client.execute_command("ACL", "SETUSER", user, *words)
    if shop.options.broker == "rabbitmq":
        rabbitmq.control(shop.data, ("set_permissions", user, *(patterns(app) if is_limited else ALL)))
    if shop.options.store == "postgres":
        with psycopg.connect(shop.store_address, autocommit=True) as client:
            client.execute(f'ALTER ROLE "{user}" {"NO" if is_limited else ""}SUPERUSER')


@contextmanager
def open_to_all(shop: System, env: str) -> Iterator[None]:
    """Make one server accept callers without a login."""
    address = shop.state.addresses[env]
    if env == STORES["redis"].env:
        with valkey.Valkey.from_url(f"redis://{address}") as client:
            client.execute_command("ACL", "SETUSER", "default", "on", "nopass", "allkeys", "allcommands")
            yield
            client.execute_command("ACL", "SETUSER", "default", "reset")
    elif env == BROKERS["rabbitmq"].env:
        rabbitmq.control(shop.data, ("change_password", "guest", "guest"))
        rabbitmq.control(shop.data, ("set_permissions", "guest", *ALL))
        yield
        rabbitmq.control(shop.data, ("clear_password", "guest"))
    else:
        file = Path(shop.data) / "postgres" / "data" / "pg_hba.conf"
        rules = file.read_text(encoding="utf-8")
        with psycopg.connect(address, autocommit=True) as client:
            file.write_text("host all all 127.0.0.1/32 trust\n", encoding="utf-8")
            client.execute("SELECT pg_reload_conf()")
            yield
            file.write_text(rules, encoding="utf-8")
            client.execute("SELECT pg_reload_conf()")


def without_login(shop: System, env: str) -> str:
    """Return the address that a stranger knows; PostgreSQL needs a name, which is known."""
    address: str = shop.state.addresses[env]
    login, _, rest = address.rpartition("@")
    if env == STORES["postgres"].env:
        return f"{login.rpartition(':')[0]}@{rest}"
    return f"{login.partition('://')[0]}://guest:guest@{rest}" if "://" in login else rest


__all__ = ["ADMINISTRATOR", "BROKER_OF", "STORE_OF", "open_to_all", "unlimited", "without_login"]
