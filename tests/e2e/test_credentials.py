"""Each app has its own user at the broker and the store, which reaches its own topics and records.

Each attack also runs without the control, where it succeeds.
"""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import grpc
import psutil
import pytest
from dapr.proto import api_service_v1, api_v1

from sidecart.launcher import monitor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.servers import rabbitmq_queues
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.topics import INBOX, MONITOR, app_ids, read_topics, service_ids
from sidecart.launcher.topology import sidecar_of
from tests.e2e.conftest import broker, options, store
from tests.e2e.intruders import BROKER_OF, STORE_OF, open_to_all, unlimited, without_login

pytestmark = pytest.mark.sidecars

ENVS = list(dict.fromkeys((BROKERS[broker()].env, STORES[store()].env)))
MUTANT = pytest.mark.parametrize(
    "is_open", [pytest.param(False, id="limited"), pytest.param(True, id="mutant", marks=pytest.mark.mutant)]
)
INTRUDER = "notification"
"""It has no reason to reach an account."""
TOPIC = "UserCreated"
"""Both the intruder and Billing read it."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Return a shop of its own, because mutants change its servers."""
    with System(options(tmp_path_factory.mktemp("shop")), print) as running:
        yield running


def address(shop: System, env: str, user: str = INTRUDER) -> str:
    """Return the address of a server with the login of a user."""
    return shop.state.addresses_as(user)[env]


def wait_for(shop: System, env: str) -> None:
    """Wait until a server answers an app's user."""
    server = shop.servers[env]
    shop.deadline.until(lambda: server.check(address(shop, env)) is None, 60, lambda: f"no {env}")


@pytest.mark.attack("servers", "connect without a login", "logins")
@pytest.mark.parametrize("env", ENVS)
@MUTANT
def test_a_server_refuses_callers_without_a_login(shop: System, env: str, is_open: bool) -> None:
    """Also RabbitMQ's usual guest, and PostgreSQL's administrator without a password."""
    with open_to_all(shop, env) if is_open else nullcontext():
        problem = shop.servers[env].check(without_login(shop, env))

    assert is_open == (problem is None), problem


@pytest.mark.attack("servers", "connect with a wrong password", "logins")
@pytest.mark.parametrize("env", ENVS)
def test_a_server_refuses_a_wrong_password(shop: System, env: str) -> None:
    """The password of another app is wrong, too."""
    server, users = shop.servers[env], shop.servers[env].logins(shop.data)
    mixed = address(shop, env).replace(users[INTRUDER], users["user"])

    assert server.check(address(shop, env)) is None
    assert server.check(mixed) is not None


@pytest.mark.attack("servers", "read and write the records of another app", "login of each app")
@pytest.mark.parametrize("attack", ["reads", "writes"])
@MUTANT
def test_an_app_reaches_no_record_of_another(shop: System, attack: str, is_open: bool) -> None:
    """A user's login cannot change a balance."""
    login, key = address(shop, ENVS[-1]), "billing||account-x"
    with unlimited(shop, INTRUDER) if is_open else nullcontext():
        assert is_open == getattr(STORE_OF[store()], attack)(login, key)


@pytest.mark.attack("servers", "publish the topics of another app", "login of each app")
@MUTANT
def test_an_app_publishes_no_topic_of_another(shop: System, is_open: bool) -> None:
    """Not even with the credentials of its sidecar."""
    others = [name for name, topic in read_topics().items() if topic.consumers and topic.publisher != INTRUDER]
    with unlimited(shop, INTRUDER) if is_open else nullcontext():
        published = {topic: BROKER_OF[broker()].publishes(address(shop, ENVS[0]), topic) for topic in others}

    assert dict.fromkeys(others, is_open) == published


@pytest.mark.attack("servers", "read the topics of another app", "login of each app")
@MUTANT
def test_an_app_reads_no_topic_of_another(shop: System, is_open: bool) -> None:
    """It can bind no queue, and read no stream."""
    others = [name for name, topic in read_topics().items() if topic.consumers and INTRUDER not in topic.consumers]
    with unlimited(shop, INTRUDER) if is_open else nullcontext():
        read = {topic: BROKER_OF[broker()].reads(address(shop, ENVS[0]), topic) for topic in others}

    assert dict.fromkeys(others, is_open) == read


@pytest.mark.attack("servers", "take events from another app's group or queue", "login of each app")
@MUTANT
def test_an_app_takes_no_events_of_another(shop: System, is_open: bool) -> None:
    """It reads with no name of another app, from topics that it does not read itself."""
    others = [
        (name, consumer)
        for name, topic in read_topics().items()
        for consumer in topic.consumers
        if consumer in service_ids() and INTRUDER not in topic.consumers
    ]
    with unlimited(shop, INTRUDER) if is_open else nullcontext():
        taken = {each: BROKER_OF[broker()].takes(address(shop, ENVS[0]), *each) for each in others}

    assert dict.fromkeys(others, is_open) == taken


@pytest.mark.attack("servers", "name the queue of another app in a subscription", "login of each app")
@pytest.mark.only_on("rabbitmq")  # a stream has no queues
@MUTANT
def test_an_app_cannot_name_the_queue_of_another(shop: System, tmp_path: Path, is_open: bool) -> None:
    """A taken-over app names it in the metadata of a subscription to a topic of its own.

    The mutant is a sidecar with the login of the administrator.
    """
    victim, name, config = f"billing-{TOPIC}", f"{INTRUDER}-9", tmp_path / "may-subscribe.yaml"
    monitor.write_configuration(config)
    login = ADMINISTRATOR if is_open else ""
    queue = shop.state.addresses[ENVS[0]]
    try:
        sidecar = shop.sidecars.start_for(name, None, config=config, login=login)
        shop.sidecars.wait_for_components(name, shop.deadline)
        log = shop.state.processes.log(sidecar_of(name))
        known = log.stat().st_size  # of the run before, which has the same name
        with subscribing(sidecar, shop.tokens[sidecar_of(name)], {"queueName": victim, "rawPayload": "true"}):
            shop.deadline.until(
                lambda: b"ACCESS_REFUSED" in log.read_bytes()[known:] or readers_of(queue, victim) == 2,
                60,
                lambda: f"neither refused nor subscribed: see {log}",
            )
            assert (2 if is_open else 1) == readers_of(queue, victim)
    finally:
        shop.sidecars.stop(name)


@contextmanager
def subscribing(sidecar: Sidecar, token: str, metadata: Mapping[str, str]) -> Iterator[None]:
    """Ask a sidecar for a subscription to a topic of the intruder, without waiting for it."""
    first = api_v1.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=INBOX, topic=TOPIC, metadata=metadata)
    request = api_v1.SubscribeTopicEventsRequestAlpha1(initial_request=first)
    done = threading.Event()

    def requests() -> Iterator[object]:
        yield request
        done.wait()

    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel:
        stub = api_service_v1.DaprStub(channel)  # type: ignore[no-untyped-call]  # generated without types
        call = stub.SubscribeTopicEventsAlpha1(requests(), metadata=(("dapr-api-token", token),))
        try:
            yield
        finally:
            done.set()
            call.cancel()


def readers_of(address: str, queue: str) -> int | None:
    """Return the number of a queue's consumers."""
    with rabbitmq_queues.connection(address) as connection:
        return rabbitmq_queues.consumers(connection, queue)


@pytest.mark.attack("servers", "publish as an observer", "login of each app")
@pytest.mark.parametrize("user", ["tap", MONITOR])
def test_observers_publish_nothing_and_have_no_records(shop: System, user: str) -> None:
    """The tap and the live page read all topics."""
    login = address(shop, ENVS[0], user)

    assert {False} == {BROKER_OF[broker()].publishes(login, topic) for topic in read_topics()}
    assert not STORE_OF[store()].reads(address(shop, ENVS[-1], user), "billing||account-x")


@pytest.mark.attack("servers", "read a password from a command line or a file", "private files")
def test_no_command_line_and_no_open_file_has_a_password(shop: System) -> None:
    """Every user of the machine sees command lines."""
    passwords = {word for env in ENVS for word in shop.servers[env].logins(shop.data).values()}
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in shop.processes.values()]
    files = [file for file in shop.data.rglob("*") if file.suffix in (".json", ".acl", ".conf")]

    assert len(passwords) >= len(permissions()) > len(app_ids())
    assert [] == [line for line in lines for password in passwords if password in line]
    assert [] == [file for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077]


def test_passwords_differ_between_users_and_systems(shop: System) -> None:
    """They survive a restart of the system, because some servers keep their users."""
    for env in ENVS:
        server = shop.servers[env]
        users = server.logins(shop.data)
        stored = json.loads((shop.data / server.names[0] / "logins.json").read_text(encoding="utf-8"))
        assert len(set(users.values())) == len(users)
        assert stored == users


def test_users_survive_a_crash_of_their_server(shop: System) -> None:
    """The launcher starts it with the same users."""
    for env in ENVS:
        server = shop.servers[env]
        shop.kill(server.names[0])
        shop.state.processes.stop([server.names[0]], 1)
        shop.starter.start_again(server.names[0])
        wait_for(shop, env)
        assert server.check(without_login(shop, env)) is not None
