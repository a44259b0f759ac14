"""`sidecart credentials` prints commands that create a login per app on external servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shlex import split

import httpx
import psycopg
import pytest
import valkey
from psycopg import sql

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.options import EXTERNAL
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import rabbitmq
from sidecart.launcher.servers.postgres_roles import FORMER, create_roles
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.e2e.conftest import broker, options, store
from tests.e2e.shopper import TEA, new_address

pytestmark = pytest.mark.sidecars


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start the servers of this run; return the addresses with the login of their administrator.

    They have logins for the apps already, so that the printed commands replace them.
    """
    processes, deadline, found = Processes(tmp_path / "logs"), Deadline(), dict[str, str]()
    with ExitStack() as stack:
        for server in dict.fromkeys((BROKERS[broker()], STORES[store()])):
            found[server.env] = server.start(processes, tmp_path / "data", deadline)
            stack.callback(server.sweep, tmp_path / "data")
            stack.callback(processes.stop, list(server.names), server.stop_seconds)
        yield found


def run_commands(env: str, address: str, text: str, data: Path) -> None:
    """Run the printed commands as an administrator."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if env == STORES["redis"].env:
        with valkey.Valkey.from_url(f"redis://{address}") as client:
            for line in lines:
                client.execute_command(*split(line))
    elif env == STORES["postgres"].env:
        with psycopg.connect(address) as connection:
            connection.execute(sql.SQL(text))
    else:
        control = f'rabbitmqctl() {{ {rabbitmq.CONTROL_SCRIPT} "$@"; }}\n'
        environment = rabbitmq.control_environment(data)
        subprocess.run(["sh", "-c", control + text], env=environment, check=True, capture_output=True)


def buy(system: System) -> int:
    """Register and place an order; return the status of the last answer."""
    with httpx.Client(base_url=system.url, timeout=60, trust_env=False) as http:
        user = http.post("/user/register", json={"email": new_address(), "name": "Ann"}).json()
        return http.post("/order/create", json={"user_id": user["user_id"], "items": [TEA]}).status_code


def test_the_apps_use_their_logins_at_external_servers(servers: Mapping[str, str], tmp_path: Path) -> None:
    """Before the commands ran, the servers refuse the sidecars."""
    folder, own = tmp_path / "system", {each.env: each for each in (BROKERS[broker()], STORES[store()])}
    for env, server in own.items():
        logins = server.logins(folder / EXTERNAL)
        printed = server.login_commands(logins, servers[env])
        assert [] == [password for password in logins.values() if password in printed]
        first = server.address_of("user", servers[env], folder / EXTERNAL)
        assert server.check(first) is not None
        run_commands(env, servers[env], printed, tmp_path / "data")
        assert server.check(first) is None
    with System(replace(options(folder), external=servers, app_logins=True), print) as system:
        assert {**system.state.addresses} == servers
        assert len({*system.state.addresses_as("user").values(), *servers.values()}) == 2 * len(servers)
        assert 201 == buy(system)


@pytest.mark.only_on("postgres")  # only PostgreSQL moves records
def test_records_of_version_2_move_to_their_apps(servers: Mapping[str, str], tmp_path: Path) -> None:
    """They were in one table; records of unknown apps stay there."""
    address, names = servers[STORES["postgres"].env], ("user", "order")
    with System(replace(options(tmp_path / "before"), external=servers), print) as system:
        assert 201 == buy(system)
    with psycopg.connect(address) as connection:
        before = records(connection, FORMER)
        connection.execute("INSERT INTO public.state (key, value) VALUES ('gone||x', '1')")
        create_roles(connection, STORES["postgres"].logins(tmp_path / "data"), names)
        create_roles(connection, STORES["postgres"].logins(tmp_path / "data"), names)  # a second start
        after = {name: records(connection, name) for name in names}
        left = records(connection, FORMER)

    assert all(after.values())
    for name, found in after.items():
        assert found == {key: value for key, value in before.items() if key.startswith(f"{name}||")}
    assert "gone||x" in left
    assert not {key for key in left if key.startswith(("user||", "order||"))}
    for name in names:
        with psycopg.connect(STORES["postgres"].address_of(name, address, tmp_path / "data")) as connection:
            connection.execute("INSERT INTO state (key, value) VALUES ('new', '1')")
            assert connection.execute("SELECT 1 FROM dapr_metadata WHERE key LIKE 'migrations%'").fetchone()


def records(connection: psycopg.Connection, schema: str) -> dict[str, bytes]:
    """Return the records in the table of a schema."""
    query = sql.SQL("SELECT key, value FROM {}.state").format(sql.Identifier(schema))
    return dict(connection.execute(query).fetchall())
